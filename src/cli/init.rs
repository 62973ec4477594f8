//! `polder init`: a domain, a product or a policy to begin with.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use polder_catalog::mesh::{Domain, Mesh, Product};
use polder_catalog::name::{DomainName, ProductName, ProductRef};
use polder_catalog::starter;

use super::{Failure, Outcome, find, terminal};
use crate::error::{Class, Error};
use crate::inspect::{Described, describe};
use crate::session::{Engine, Options};

/// Write a domain, a product or a policy to begin with
///
/// What a table says of itself is written down: its columns, types, keys and documentation, and the tags of what detectors
/// find in some of its rows. What only people can say stands there as TODO; `polder check` names each, and nothing is
/// served before it is said. A file that is there is never written over.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  polder init domain --mesh . storefront --uri sqlite:lake/storefront/catalog.db --warehouse \
                  file:lake/storefront\n  polder init product --mesh . storefront.orders --table shop.orders\n  \
                  polder init policy --mesh . storefront.orders --for analysts"
)]
pub struct Init {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Domain(OfDomain),
    Product(OfProduct),
    Policy(OfPolicy),
}

/// Write a domain's `domain.yaml`, with where its catalog is
#[derive(Args)]
#[command(
    after_help = "Examples:\n  polder init domain --mesh . stock --uri https://catalog.example/api --warehouse stock --team \
                  stock-data"
)]
struct OfDomain {
    /// The mesh directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    mesh: PathBuf,
    /// The domain's name
    #[arg(value_name = "DOMAIN")]
    name: String,
    /// Where its Iceberg catalog is: `sqlite:…`, `postgres:…`, or the `https:…` of a REST catalog
    #[arg(long)]
    uri: String,
    /// Where the catalog's tables are, or what a REST catalog calls it
    #[arg(long)]
    warehouse: Option<String>,
    /// The team that answers for it
    #[arg(long)]
    team: Option<String>,
}

/// Write a contract for a table that is there
#[derive(Args)]
#[command(after_help = "Examples:\n  polder init product --mesh . storefront.orders --table shop.orders\n  \
                  polder init product --mesh . storefront.orders --table shop.orders --sample 0")]
struct OfProduct {
    /// The mesh directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    mesh: PathBuf,
    /// The product's name
    #[arg(value_name = "DOMAIN.PRODUCT")]
    name: String,
    /// The table in the domain's catalog
    #[arg(long, value_name = "NAMESPACE.TABLE")]
    table: String,
    /// How many of its rows are looked at for what its columns hold; 0 looks at names alone
    #[arg(long, value_name = "ROWS", default_value_t = 1000)]
    sample: usize,
}

/// Write policies by which groups find and read a product, what is protected only masked
#[derive(Args)]
#[command(after_help = "Examples:\n  polder init policy --mesh . storefront.orders --for analysts --for auditors")]
struct OfPolicy {
    /// The mesh directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    mesh: PathBuf,
    /// The product's name
    #[arg(value_name = "DOMAIN.PRODUCT")]
    name: String,
    /// A group that may read it
    #[arg(long = "for", value_name = "GROUP", required = true)]
    groups: Vec<String>,
}

impl Init {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        match self.what {
            What::Domain(domain) => domain.run(),
            What::Product(product) => product.run().await,
            What::Policy(policy) => policy.run(),
        }
    }
}

impl OfDomain {
    fn run(self) -> Outcome {
        let Self { mesh: dir, name, uri, warehouse, team } = self;
        find(&dir)?;
        let name: DomainName = name.parse().map_err(|_| environment(format!("`{name}` cannot be a domain's name")))?;
        let text = starter::domain(&name, team.as_deref(), &uri, warehouse.as_deref());
        write_new(&dir, &format!("{name}/domain.yaml"), &text, TO_BE_WRITTEN)
    }
}

impl OfProduct {
    async fn run(self) -> Outcome {
        let Self { mesh: dir, name, table, sample } = self;
        let (mesh, name) = (quiet(&dir)?, product_name(&name)?);
        let file = format!("{}/products/{}.odcs.yaml", name.domain(), name.name());
        absent(&dir, &file)?;
        let engine = Engine::start(mesh, Options::default())?;
        let mesh = engine.mesh();
        let domain = domain(&mesh, &name)?;
        let Described { table, untagged } = describe(&engine, &mesh, domain, &table, sample).await?;
        write_new(&dir, &file, &starter::product(&mesh, domain, &name, &table), TO_BE_WRITTEN)?;
        for (column, what) in untagged {
            terminal::say(&format!("note: the values of `{column}` are {what}, and no tag in mesh.yaml detects those"));
        }
        Ok(())
    }
}

impl OfPolicy {
    fn run(self) -> Outcome {
        let Self { mesh: dir, name, groups } = self;
        let (mesh, name) = (quiet(&dir)?, product_name(&name)?);
        let product = product(&mesh, &name)?;
        if let Some(unknown) = groups.iter().find(|group| !mesh.groups().any(|known| known == *group)) {
            return Err(environment(format!("the group `{unknown}` is not declared in mesh.yaml")));
        }
        let file = format!("{}/policies/{}.cedar", name.domain(), name.name());
        write_new(&dir, &file, &starter::policy(&mesh, product, &groups), HOLDS_AT_ONCE)
    }
}

/// What is to be done with a file that only people can finish.
const TO_BE_WRITTEN: &str = "`polder check` says what is still to be written in it";
/// What is to be done with a file that nothing is missing in.
const HOLDS_AT_ONCE: &str = "nothing is missing in it, and `polder check` holds it against the mesh";

fn environment(message: String) -> Failure {
    Failure::Environment(message)
}

/// A mesh of which nothing is told: a starter is written into one that is not finished.
fn quiet(dir: &Path) -> Result<Mesh, Failure> {
    find(dir)?;
    Mesh::load(dir).map_err(|findings| {
        super::report(dir, &findings);
        environment(format!("the mesh in `{}` cannot be served", dir.display()))
    })
}

fn product_name(text: &str) -> Result<ProductName, Failure> {
    let name = text.split_once('.').and_then(|(domain, name)| ProductRef::parse(domain, name).ok());
    let name = name.filter(|name| name.major.is_none()).map(|name| name.product);
    name.ok_or_else(|| environment(format!("`{text}` is no name of a product: write `domain.product`")))
}

fn domain<'m>(mesh: &'m Mesh, name: &ProductName) -> Result<&'m Domain, Failure> {
    let missing = || {
        Error::new(Class::UnknownName, format!("the domain `{}` is not served", name.domain()))
            .help("`polder check` says why; `polder init domain` begins one")
    };
    Ok(mesh.domain(name.domain()).ok_or_else(missing)?)
}

/// Any of its majors, drafts included.
fn product<'m>(mesh: &'m Mesh, name: &ProductName) -> Result<&'m Product, Failure> {
    let majors = domain(mesh, name)?.products.get(name);
    let missing = || {
        Error::new(Class::UnknownName, format!("the product `{name}` is not served"))
            .help("`polder check` says why; `polder init product` begins one")
    };
    Ok(majors.and_then(|majors| majors.last()).ok_or_else(missing)?)
}

fn absent(dir: &Path, file: &str) -> Outcome {
    match fs::symlink_metadata(dir.join(file)) {
        Ok(_) => Err(environment(format!("`{file}` is there already, and is not written over"))),
        Err(_) => Ok(()),
    }
}

/// Writes a file that is not there yet, and says what is to be done with it.
fn write_new(dir: &Path, file: &str, text: &str, next: &str) -> Outcome {
    let path = dir.join(file);
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => environment(format!("`{file}` is there already, and is not written over")),
        _ => environment(format!("cannot write `{file}`: {error}")),
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut open = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    open.write_all(text.as_bytes()).map_err(failed)?;
    terminal::say(&format!("wrote {file}; {next}"));
    Ok(())
}
