//! What a session declares: the purpose for which it wants the data.
//!
//! ```text
//! SET polder.purpose = 'fraud'     asked for: may this principal declare it?     the next statements are for it
//! SELECT …                         asked for again, since the mesh may have changed
//! RESET polder.purpose             the next statements are for none
//! ```
//!
//! A call over the wire stands for itself: it declares its purpose in a header, or brings a session that it keeps on its
//! own side. So a session here is what an embedded caller has.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use polder_catalog::principal::Principal;

use super::gate::{Admitted, Purpose, admit};
use super::{Engine, Pins, Planned, Request};
use crate::error::{Class, Error};
use crate::resolve::Resolver;
use crate::resolve::system::virtual_table;

/// The name of what is set.
const NAME: &str = "polder.purpose";

/// One who asks several statements, and the purpose that they have declared.
#[derive(Debug)]
pub struct Session {
    engine: Arc<Engine>,
    principal: Principal,
}

impl Session {
    /// A session of `principal`, for the purpose that it has.
    pub fn new(engine: Arc<Engine>, principal: Principal) -> Self {
        Self { engine, principal }
    }

    /// Who asks, and for what.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Plans one statement, as [`Engine::plan`] does. The purpose that it declares holds for those after it.
    ///
    /// # Errors
    /// Those of [`Engine::plan`]; `Denied` for a purpose that the principal may not declare, and then the one before
    /// stays.
    pub async fn plan(&mut self, sql: &str, pins: &Pins) -> Result<Planned, Error> {
        let request = Request { pins: pins.clone(), ..Request::new(sql) };
        let planned = self.engine.plan_request(&self.principal, request).await?;
        if let Some(purpose) = &planned.declares {
            self.principal.purpose.clone_from(purpose);
        }
        Ok(planned)
    }
}

/// The purpose that a statement declares, `None` inside for none any more; for a shell that keeps it on its own side.
pub fn declared(sql: &str) -> Option<Option<String>> {
    match admit(sql).ok()?.statement {
        Admitted::Purpose(Purpose::Set(purpose)) => Some(Some(purpose)),
        Admitted::Purpose(Purpose::Reset) => Some(None),
        _ => None,
    }
}

/// Makes sure that the resolver's principal may declare the purpose that it has.
pub(super) fn entitled(resolver: &Resolver) -> Result<(), Error> {
    match &resolver.principal.purpose {
        None => Ok(()),
        Some(purpose) => {
            may_declare(resolver, purpose).map_err(|error| error.help("RESET polder.purpose declares none"))
        }
    }
}

fn may_declare(resolver: &Resolver, purpose: &str) -> Result<(), Error> {
    let principal = resolver.principal.clone();
    let entitled = resolver.mesh.with_purpose(principal, purpose).map(drop);
    entitled.map_err(|error| Error::new(Class::Denied, error.to_string()))
}

/// The answer to a statement about the purpose, and what it declares.
#[allow(clippy::type_complexity, reason = "both halves are what planning goes on with")]
pub(super) fn answer(
    resolver: &Resolver,
    purpose: Purpose,
) -> Result<(Arc<dyn TableProvider>, Option<Option<String>>), Error> {
    let (now, declares) = match purpose {
        Purpose::Show => {
            entitled(resolver)?;
            (resolver.principal.purpose.clone(), None)
        }
        Purpose::Reset => (None, Some(None)),
        Purpose::Set(purpose) => {
            may_declare(resolver, &purpose)?;
            (Some(purpose.clone()), Some(Some(purpose)))
        }
    };
    let table = virtual_table(TableReference::bare("setting"), &["name", "value"], &[vec![Some(NAME.to_owned()), now]])
        .map_err(|error| Error::new(Class::Bug, format!("the purpose could not be shown: {error}")))?;
    Ok((table, declares))
}
