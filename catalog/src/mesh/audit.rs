//! What `mesh.yaml` says of the audit: whether statements are kept word for word, and who may read those of others.

use std::collections::BTreeSet;

use super::declared::Declared;
use crate::document::fields::Fields;
use crate::document::yaml::Node;
use crate::document::{Report, quote};

/// How much of a statement is kept, by the words for it.
const STATEMENTS: [(&str, bool); 2] = [("redacted", false), ("full", true)];

/// The audit as `mesh.yaml` declares it.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// Whether statements are kept with their literals.
    pub full: bool,
    /// The groups that may read everybody's statements.
    pub readers: BTreeSet<String>,
}

impl Audit {
    /// Reads it. Its readers are groups that `declared` knows.
    pub fn read(node: &Node, declared: &Declared, report: &mut Report) -> Self {
        let mut audit = Self::default();
        let Some(mut fields) = Fields::of(node, "`audit`", report) else { return audit };
        if let Some(text) = fields.text("statements", report) {
            match STATEMENTS.iter().find(|(word, _)| *word == text) {
                Some((_, full)) => audit.full = *full,
                None => report
                    .error(
                        "mesh/audit",
                        fields.key_place("statements"),
                        format!("{} is no way to keep statements", quote(text)),
                    )
                    .did_you_mean(text, STATEMENTS.iter().map(|(word, _)| *word)),
            }
        }
        audit.readers = declared.declared_groups(fields.texts("readers", report), report);
        fields.close(report);
        audit
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use crate::document::Finding;
    use crate::mesh::Mesh;

    fn mesh(audit: &str) -> Result<Mesh, Vec<Finding>> {
        let users = "auth: { users: [ { name: ada, groups: [auditors] }, { name: bob, groups: [analysts] } ] }";
        let text = format!("mesh: m\ngroups: [auditors, analysts]\n{users}\n{audit}\n");
        Mesh::from_files(&BTreeMap::from([("mesh.yaml".to_owned(), text)]))
    }

    #[test]
    fn statements_are_redacted_and_nobody_reads_those_of_others_unless_the_mesh_says_so() {
        let silent = mesh("").unwrap();
        let declared = mesh("audit: { statements: full, readers: [auditors] }").unwrap();
        assert!(!silent.audits_in_full() && declared.audits_in_full());
        assert!(!mesh("audit: { statements: redacted }").unwrap().audits_in_full());
        let reads = |mesh: &Mesh, user: &str| mesh.is_auditor(&mesh.principal(user).unwrap());
        assert!(reads(&declared, "ada") && !reads(&declared, "bob") && !reads(&silent, "ada"));
    }

    #[test]
    fn what_is_not_understood_breaks_the_mesh() {
        for (audit, expect) in [
            ("audit: { statements: all }", "is no way to keep statements"),
            ("audit: { statements: ful }", "is no way to keep statements"),
            ("audit: { statements: true }", "is a text"),
            ("audit: { readers: [auditor] }", "is not declared"),
            ("audit: { reader: [auditors] }", "unknown key"),
            ("audit: [auditors]", "is a mapping"),
        ] {
            let findings = mesh(audit).unwrap_err();
            assert!(findings.iter().any(|finding| finding.message.contains(expect)), "{audit}: {findings:?}");
        }
    }
}
