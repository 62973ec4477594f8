//! What was found out about claims, as findings.

use super::{Doubt, Examined, NoClaim, Overruled, Proof, Verdict, Witness};
use crate::document::{Finding, Place, Severity};
use crate::policy::Reason;

impl Examined {
    /// A finding for each claim, proved ones included, and for each policy that is overruled.
    pub fn findings(&self) -> Vec<Finding> {
        let mut found: Vec<Finding> = self.proofs.iter().map(of_proof).collect();
        found.extend(self.overruled.iter().map(of_overruled));
        found.extend(self.no_claims.iter().map(|(fault, place)| fault.clone().finding(place.clone())));
        found
    }
}

impl NoClaim {
    /// What is wrong with a claim that is written at a place.
    pub fn finding(self, place: Place) -> Finding {
        finding("claim/invalid", Severity::Error, place, self.message, self.help)
    }
}

fn finding(code: &'static str, severity: Severity, place: Place, message: String, help: Option<String>) -> Finding {
    Finding { code, severity, place, domain: None, product: None, message, help }
}

fn of_proof(proof: &Proof) -> Finding {
    let Proof { claim, place, columns, verdict } = proof;
    match verdict {
        Verdict::Proved if *columns == 0 => {
            let message = format!("`{claim}` is true of nothing: no column that is served is meant");
            finding("claim/empty", Severity::Note, place.clone().unwrap_or_else(Place::top), message, None)
        }
        Verdict::Proved => {
            let columns = if *columns == 1 { "1 column".to_owned() } else { format!("{columns} columns") };
            let message = format!("proved: `{claim}`, whatever groups and attributes one has ({columns})");
            finding("claim/proved", Severity::Note, place.clone().unwrap_or_else(Place::top), message, None)
        }
        Verdict::Refuted(witness) => {
            let Witness { column, place, who, access, because, .. } = &**witness;
            let message =
                format!("refuted: `{claim}`: `{column}` is {access} to somebody ({who}), by {}", policies(because));
            let help = "forbid it mesh-wide, or give the tag `unmasked_for`".to_owned();
            finding("claim/refuted", Severity::Error, place.clone(), message, Some(help))
        }
        Verdict::Unknown(doubt) => {
            let Doubt { column, place, because } = &**doubt;
            let message = format!("unknown whether `{claim}`: it is not understood who gets `{column}`");
            let help = match because.is_empty() {
                true => {
                    "there are too many combinations: split the policies, or forbid it without conditions".to_owned()
                }
                false => format!("look at the conditions of {}, or forbid it without conditions", policies(because)),
            };
            finding("claim/unknown", Severity::Error, place.clone(), message, Some(help))
        }
    }
}

fn of_overruled(overruled: &Overruled) -> Finding {
    let Overruled { policy, tag, column, who } = overruled;
    let message = format!(
        "the tag `{tag}` overrules policy `{}`, which would show `{column}` raw to somebody ({who})",
        policy.policy
    );
    let help = format!("write `unless {{ resource in Tag::\"{tag}\" }}` to say the same, or permit `read_masked`");
    finding("policy/overruled", Severity::Note, policy.place.clone(), message, Some(help))
}

/// The policies, each with its place; the first few of many.
fn policies(because: &[Reason]) -> String {
    const NAMED: usize = 5;
    let named = because.iter().take(NAMED).map(|reason| format!("`{}` ({})", reason.policy, reason.place));
    let mut text = named.collect::<Vec<_>>().join(", ");
    let more = because.len().saturating_sub(NAMED);
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
