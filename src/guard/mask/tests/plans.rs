//! Masks as expressions: how they are told, and what they tell.

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::Schema;
use datafusion::logical_expr::create_udf;
use datafusion::physical_expr::expressions::Column;

use super::*;

fn column() -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new("email", 0))
}

fn masked_by(mask: Mask, keys: &Keys) -> Arc<dyn PhysicalExpr> {
    apply(&Shown::Masked(mask), column(), &DataType::Utf8, keys).unwrap()
}

#[test]
fn an_expression_is_told_by_its_type_and_says_what_it_masks() {
    for mask in masks() {
        let shown = Shown::Masked(mask);
        let Ok(expr) = apply(&shown, column(), &DataType::Utf8, &keys()) else { continue };
        let (found, input) = applied(expr.as_ref()).unwrap();
        assert_eq!(found, &shown);
        let constant = matches!(shown, Shown::Masked(Mask::Null | Mask::Fixed(_)));
        assert_eq!(input.is_none(), constant, "a constant reads nothing");
    }
    assert!(applied(column().as_ref()).is_none());
}

#[test]
fn a_function_of_the_same_name_is_no_mask() {
    let imitation = create_udf(
        "mask_alphanum",
        vec![DataType::Utf8],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(|arguments| Ok(arguments[0].clone())),
    );
    let field = Arc::new(Field::new("mask_alphanum", DataType::Utf8, true));
    let config = Arc::new(ConfigOptions::new());
    let call = ScalarFunctionExpr::new("mask_alphanum", Arc::new(imitation), vec![column()], field, config);
    assert!(applied(&call).is_none());
}

#[test]
fn expressions_show_values_of_a_batch_and_are_nullable() {
    let schema = Arc::new(Schema::new(vec![Field::new("email", DataType::Utf8, false)]));
    let rows: ArrayRef = Arc::new(StringArray::from(vec!["ann@x.nl", "bob@y.nl"]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![rows]).unwrap();
    for (mask, expect) in [(Mask::First4, ["ann@x.xx", "bob@x.xx"]), (Mask::Fixed(None), ["XXXXXXXX", "XXXXXXXX"])] {
        let expr = masked_by(mask, &keys());
        assert!(expr.nullable(&schema).unwrap());
        let shown = expr.evaluate(&batch).unwrap().into_array(2).unwrap();
        assert_eq!(shown.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), expect);
    }
    let nothing = masked_by(Mask::Null, &keys()).evaluate(&batch).unwrap().into_array(2).unwrap();
    assert_eq!((nothing.null_count(), nothing.data_type()), (2, &DataType::Utf8));
}

#[test]
fn neither_keys_nor_salts_nor_arguments_are_in_any_text() {
    let keys = keys();
    let secret = |text: String| {
        assert!(!text.contains(SECRET) && !text.contains(&format!("{:?}", SECRET.as_bytes())), "{text}");
        let salt = keys.salt().unwrap().value;
        assert!(!text.contains(&format!("{salt:?}")) && !text.contains("hidden-argument"), "{text}");
    };
    secret(format!("{keys:?} {keys:#?}"));
    let fixed = Mask::Fixed(Some("hidden-argument".into()));
    for mask in [Mask::Hmac("pii".into()), Mask::Sha256QueryLocal] {
        let masking = Masking::new(&Shown::Masked(mask.clone()), &DataType::Utf8, &keys).unwrap();
        secret(format!("{masking:?} {masking:#?}"));
        let expr = masked_by(mask, &keys);
        secret(format!("{expr} {expr:?} {expr:#?}"));
    }
    secret(masked_by(fixed, &keys).to_string());
    assert_eq!(format!("{}", masked_by(Mask::Hmac("pii".into()), &keys)), "mask_hmac(email@0)");
}

#[test]
fn secrets_are_the_same_by_name_and_statement() {
    let (one, other) = (keys(), keys());
    let hmac = || Mask::Hmac("pii".into());
    assert_eq!(one, one.clone());
    assert_ne!(one, other);
    for (mask, differs) in [(hmac(), true), (Mask::Sha256QueryLocal, true), (Mask::Sha256Global, false)] {
        assert!(masked_by(mask.clone(), &one).eq(&masked_by(mask.clone(), &one.clone())));
        assert_eq!(!masked_by(mask.clone(), &one).eq(&masked_by(mask, &other)), differs);
    }
}

#[test]
fn without_its_key_a_mask_is_unfit() {
    let none = Keys::new([]);
    let hmac = Shown::Masked(Mask::Hmac("pii".into()));
    assert_eq!(fits(&hmac, &DataType::Utf8, &none), Err(Unfit::NoKey("pii".to_owned())));
    assert!(fits(&hmac, &DataType::Utf8, &keys()).is_ok());
    let inside = Shown::Fields(vec![("a".to_owned(), hmac)]);
    let kind = DataType::Struct(vec![Field::new("a", DataType::Utf8, true)].into());
    assert!(apply(&inside, column(), &kind, &none).is_err());
}

#[test]
fn a_grant_is_a_treatment_without_what_is_denied() {
    let grant = |column: &str, access| polder_catalog::policy::ColumnGrant {
        column: column.to_owned(),
        access,
        reasons: Vec::new(),
    };
    let fields = vec![
        grant("a", Access::Raw),
        grant("b", Access::Denied),
        grant("c", Access::Nested(vec![grant("d", Access::Masked(Mask::Year)), grant("e", Access::Denied)])),
    ];
    let inner = Shown::Fields(vec![("d".to_owned(), Shown::Masked(Mask::Year))]);
    let expect = Shown::Fields(vec![("a".to_owned(), Shown::Raw), ("c".to_owned(), inner)]);
    assert_eq!(Shown::of(&Access::Nested(fields)), Some(expect));
    assert_eq!(Shown::of(&Access::Denied), None);
}
