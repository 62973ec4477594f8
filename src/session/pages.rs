//! The pages of products, for who browses the mesh without SQL.

use std::sync::Arc;

use polder_catalog::principal::Principal;

use super::{Engine, purpose};
use crate::error::Error;
use crate::resolve::Page;

impl Engine {
    /// The products that `principal` may discover, without their columns.
    ///
    /// # Errors
    /// When the principal may not have the purpose that it declares, or the engine fails on it.
    pub async fn pages(self: &Arc<Self>, principal: &Principal) -> Result<Vec<Page>, Error> {
        let resolver = self.resolver(principal);
        let pages = async move {
            purpose::entitled(&resolver)?;
            Ok(resolver.pages())
        };
        self.apart(pages).await
    }

    /// The page of one product, by its domain and its name in SQL.
    ///
    /// # Errors
    /// As above, and `UnknownName` for what is not there and for what may not be discovered alike.
    pub async fn page(self: &Arc<Self>, principal: &Principal, domain: &str, product: &str) -> Result<Page, Error> {
        let resolver = self.resolver(principal);
        let (domain, product) = (domain.to_owned(), product.to_owned());
        let page = async move {
            purpose::entitled(&resolver)?;
            resolver.page(&domain, &product).await
        };
        self.apart(page).await
    }
}
