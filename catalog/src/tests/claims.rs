//! Claims about a small mesh, and what is told of them.

use super::*;
use crate::document::Severity;
use crate::proof::{Claim, Verdict, examine};

const RULES: &str = "shop/policies/shop.cedar";

fn verdict(files: &Files, claim: &str) -> Verdict {
    let mesh = files.load().unwrap_or_else(|findings| panic!("{findings:#?}"));
    let claim = Claim::parse(claim, &mesh).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Claim::parse(&claim.to_string(), &mesh).unwrap(), claim, "it is written as it is read");
    examine(&mesh, &[claim]).proofs.pop().unwrap().verdict
}

fn proved(files: &Files, claim: &str) {
    let verdict = verdict(files, claim);
    assert!(matches!(verdict, Verdict::Proved), "{claim}: {verdict:#?}");
}

/// Who the witness is, and what it reads.
fn refuted(files: &Files, claim: &str) -> (String, String) {
    match verdict(files, claim) {
        Verdict::Refuted(witness) => (witness.column, witness.who),
        other => panic!("{claim}: {other:#?}"),
    }
}

#[test]
fn what_the_tags_say_is_proved_whatever_domains_write() {
    let open = "@id(\"all\") permit (principal, action == Action::\"read\", resource in Domain::\"shop\");\n\
                @id(\"seen\") permit (principal, action == Action::\"discover\", resource);\n";
    let files = Files::valid().append(RULES, open);
    proved(&files, "no one outside privacy can read pii");
    proved(&files, "nobody outside privacy can read pii.email");
    proved(&files, "no one outside privacy, analysts can read shop.customers.home.street");
    let said = refuted(&files, "no one can read pii");
    assert_eq!(said, ("shop.customers@1.email".to_owned(), "privacy".to_owned()));
    assert_eq!(refuted(&files, "no one outside privacy can read shop.customers").1, "no group");
    assert_eq!(refuted(&files, "no one outside analysts can see shop.customers.city").1, "no group");
}

#[test]
fn policies_that_a_tag_overrules_are_named() {
    let mesh = Files::valid().load().unwrap();
    let examined = examine(&mesh, &[]);
    let told: Vec<String> =
        examined.overruled.iter().map(|o| format!("{} {} {} {}", o.policy.policy, o.tag, o.column, o.who)).collect();
    assert_eq!(told, ["customers-basic pii shop.customers@1.email analysts"]);
    let findings = examined.findings();
    let finding = findings.iter().find(|finding| finding.code == "policy/overruled").unwrap();
    assert_eq!((finding.severity, finding.place.to_string()), (Severity::Note, format!("{RULES}:1:1")));
    // One that leaves the tag out itself is not overruled, nor is one that masks, nor one for those inside.
    let leaves = Files::valid().change(
        RULES,
        "\"shop.customers\");",
        "\"shop.customers\") unless { resource in Tag::\"pii\" };",
    );
    assert!(examine(&leaves.load().unwrap(), &[]).overruled.is_empty());
}

#[test]
fn witnesses_say_what_a_condition_asks() {
    let one = |when: &str| {
        let rule = format!(
            "@id(\"one\") permit (principal, action == Action::\"read\", resource == Column::\"depot.parcels.parcel\") when {{ {when} }};\n\
             @id(\"seen\") permit (principal, action == Action::\"discover\", resource);\n"
        );
        Files::valid().append("policies/all.cedar", &rule)
    };
    let claim = "no one outside analysts can read depot.parcels.parcel";
    let who = |when: &str| refuted(&one(when), claim).1;
    assert_eq!(who("principal has region && principal.region == \"EU\""), "no group, region EU");
    assert_eq!(who("principal has level && principal.level >= 3 && principal.level < 4"), "no group, level 3");
    assert_eq!(who("principal has teams && principal.teams.containsAll([\"a\", \"b\"])"), "no group, teams [a b]");
    assert_eq!(who("context has purpose && context.purpose == \"fraud\""), "privacy for fraud");
    assert_eq!(who("principal == User::\"pia\""), "the user pia, no group");
    assert_eq!(who("principal has staff && !principal.staff"), "no group, staff false");
    assert_eq!(who("principal has region && principal.region like \"EU*\""), "no group, region EU");
    proved(&one("principal in Group::\"analysts\""), claim);
    proved(&one("principal has level && principal.level > 3 && principal.level < 4"), claim);
    proved(&one("principal has teams && principal.teams.isEmpty() && principal.teams.contains(\"a\")"), claim);
    proved(
        &one(
            "principal in Group::\"analysts\" || (principal has region && principal.region == \"a\" && principal.region == \"b\")",
        ),
        claim,
    );
}

#[test]
fn what_is_beyond_the_prover_is_unknown_and_never_proved() {
    let rule = |when: &str| {
        let rule = format!(
            "@id(\"odd\") permit (principal, action in [Action::\"read\"], resource in Product::\"depot.parcels\") when {{ {when} }};\n\
             @id(\"seen\") permit (principal, action == Action::\"discover\", resource);\n"
        );
        Files::valid().append("policies/all.cedar", &rule)
    };
    let claim = "no one can read depot.parcels";
    // True for nobody, which takes arithmetic to know.
    let never = rule("principal has level && principal.level * 2 == 7");
    match verdict(&never, claim) {
        Verdict::Unknown(doubt) => {
            assert_eq!(doubt.column, "depot.parcels@2.parcel");
            assert_eq!(doubt.because.iter().map(|reason| &*reason.policy).collect::<Vec<_>>(), ["odd"]);
        }
        other => panic!("{other:#?}"),
    }
    let findings = {
        let mesh = never.load().unwrap();
        examine(&mesh, &[Claim::parse(claim, &mesh).unwrap()]).findings()
    };
    let finding = findings.iter().find(|finding| finding.code == "claim/unknown").unwrap();
    assert_eq!(finding.severity, Severity::Error);
    // Where it does not matter the verdict is known; where somebody happens to be let through, too.
    proved(
        &rule("principal has level && principal.level * 2 == 7 && principal in Group::\"analysts\""),
        "no one outside analysts can read depot.parcels",
    );
    refuted(&rule("principal has level && principal.level * 2 < 7"), claim);
}

#[test]
fn claims_of_the_standards_are_proved_where_they_stand() {
    let with = |claims: &str| {
        let files = Files::valid().change("mesh.yaml", "standards:\n", &format!("standards:\n  claims: [{claims}]\n"));
        let mesh = files.load().unwrap();
        examine(&mesh, &[]).findings().into_iter().map(|f| (f.code, f.place.to_string())).collect::<Vec<_>>()
    };
    let found =
        with("no one outside analysts can read shop.customers.city, no one can reed pii, no one can read pii.phone");
    assert!(found.contains(&("claim/proved", "mesh.yaml:3:12".to_owned())), "{found:#?}");
    assert!(found.contains(&("claim/invalid", "mesh.yaml:3:66".to_owned())), "{found:#?}");
    let refuted = with("no one outside privacy can read shop.customers.city");
    assert!(refuted.contains(&("claim/refuted", "shop/products/customers.odcs.yaml:18:9".to_owned())), "{refuted:#?}");
    let empty = with("no one can see tag id").contains(&("claim/proved", "mesh.yaml:3:12".to_owned()));
    assert!(!empty, "analysts see it");
}

#[test]
fn what_is_no_claim_says_what_one_is() {
    let mesh = Files::valid().load().unwrap();
    let fault = |text: &str| {
        let fault = Claim::parse(text, &mesh).unwrap_err();
        format!("{} {}", fault.message, fault.help.unwrap_or_default())
    };
    assert!(fault("everyone can read pii").contains("no one [outside GROUP"));
    assert!(fault("no one outside can read pii").contains("no one [outside GROUP"));
    assert!(fault("no one may read pii").contains("can read|see"));
    assert!(fault("no one outside analyst can read pii").contains("did you mean `analysts`?"));
    assert!(fault("no one can read pii.emial").contains("did you mean `pii.email`?"));
    assert!(fault("no one can read shop.customers.nothing").contains("is no tag, product or column"));
    assert!(fault("no one can read shop.customers@7").contains("that is served"));
}
