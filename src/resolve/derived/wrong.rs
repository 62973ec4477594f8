//! What is said of a derived product that is not served, and to whom how much of it.

use std::fmt;

use polder_catalog::contract::{Contract, Query};
use polder_catalog::mesh::{Domain, Product};
use polder_catalog::name::ProductRef;

use super::fit::Misfit;
use super::{Over, Resolver};
use crate::error::{Class, Error};
use crate::guard::flow::Source as FlowSource;
use crate::resolve::denial::ask;

impl Resolver {
    /// The error for the first columns of a derived product that are made of what is denied, if any are.
    pub(super) async fn denied(
        &self,
        name: &ProductRef,
        domain: &Domain,
        product: &Product,
        query: &Query,
    ) -> Option<Error> {
        let planned = Box::pin(self.planned(name, domain, product, query, Over::Outlines)).await;
        let beneath = planned.ok()?.beneath;
        let denied = |source: &FlowSource| beneath.denies(source);
        let flow = &beneath.flow;
        let declared = |output: &str| product.contract.columns.iter().any(|column| column.name == output);
        let mut made = flow.outputs.iter().filter(|(output, sources)| declared(output) && sources.iter().any(denied));
        let message = match made.next() {
            Some((output, _)) => format!("column `{output}` of `{name}` is made of what is denied to you"),
            None if flow.rows.iter().any(denied) => format!("the rows of `{name}` are made of what is denied to you"),
            None => return None,
        };
        Some(self.ask_for(name, message))
    }

    /// The error where it is not known what of it is denied.
    pub(super) fn kept(&self, name: &ProductRef) -> Error {
        self.ask_for(name, format!("`{name}` is made of what is denied to you"))
    }

    /// The error where something inside is not there for this principal. It is the same where nothing is there at all.
    pub(super) fn hidden(&self, name: &ProductRef) -> Error {
        self.ask_for(name, format!("`{name}` is made of products that are not all there for you"))
    }

    fn ask_for(&self, name: &ProductRef, message: String) -> Error {
        let message = format!("{message}, so nothing of it is served to you");
        Error::new(Class::Denied, message).help(ask(self.wanted(name).owner()))
    }
}

/// The error for the table of a product that has none.
pub(in crate::resolve) fn no_table(name: &ProductRef) -> Error {
    Error::new(Class::BadRequest, format!("`{name}` is derived from other products and has no table of its own"))
}

pub(super) fn too_much(name: impl fmt::Display) -> Error {
    Error::new(Class::Limit, format!("`{name}` is derived from too many products, or through too many others"))
}

pub(super) fn invalid(name: &ProductRef, why: &str) -> Error {
    Error::new(Class::Drift, format!("the query of `{name}` cannot be served: {why}"))
}

pub(super) fn drift(name: &ProductRef, contract: &Contract, Misfit { column, what, .. }: &Misfit) -> Error {
    let place =
        contract.columns.iter().find(|declared| declared.name == *column).map(|column| column.place.to_string());
    let error =
        Error::new(Class::Drift, format!("the query of `{name}` does not keep its contract: column `{column}` {what}"));
    error.help(format!("the contract declares it at {}", place.unwrap_or_default()))
}

/// What a reader from whom something is kept may know of a query that is wrong: the whole of it could name columns.
pub(super) fn told(name: &ProductRef, error: Error, restricted: bool) -> Error {
    if error.class != Class::Drift || !restricted {
        return error;
    }
    tracing::warn!(product = %name, error = %error.message, "a derived product is not served");
    Error::new(Class::Drift, format!("the query of `{name}` does not keep its contract"))
        .help("its owner can see what is wrong with it")
}

pub(super) fn bug(name: &ProductRef) -> impl Fn(datafusion::error::DataFusionError) -> Error {
    move |error| {
        tracing::error!(product = %name, error = %error.strip_backtrace(), "a derived product could not be made");
        Error::new(Class::Bug, format!("`{name}` could not be put together, so it is not served"))
    }
}
