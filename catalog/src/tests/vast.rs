//! A vast mesh, made in memory: many domains, wide products, and policies of every kind over them. Benches use this
//! file as well, so it knows nothing but the names of files and their texts.

use std::collections::BTreeMap;
use std::fmt::Write;

/// How vast.
#[derive(Debug, Clone, Copy)]
pub struct Vast {
    pub domains: usize,
    /// In each domain.
    pub products: usize,
    /// In each product.
    pub columns: usize,
    /// In the whole mesh; about one in a hundred is mesh-wide.
    pub policies: usize,
}

/// How many groups there are; everyone is in three.
const GROUPS: usize = 200;
const TAGS: [&str; 6] = ["pii", "pii.email", "pii.name", "money", "money.cost", "open"];

impl Vast {
    /// The files of the mesh, by their paths.
    pub fn files(&self) -> BTreeMap<String, String> {
        let mut files =
            BTreeMap::from([("mesh.yaml".to_owned(), mesh()), ("secrets/pii".to_owned(), "of no one".to_owned())]);
        let mesh_wide = self.policies / 100;
        files.insert("policies/all.cedar".into(), (0..mesh_wide).map(|n| self.mesh_wide(n)).collect());
        let own = (self.policies - mesh_wide) / self.domains.max(1);
        for domain in 0..self.domains {
            files.insert(
                format!("d{domain}/domain.yaml"),
                format!(
                    "name: d{domain}\nkind: shared\nowner: {{ team: t{domain} }}\n\
                     catalog: {{ type: metadata, tables: {{ n.t: \"s3://b/d{domain}/t/metadata/1.metadata.json\" }} }}\n"
                ),
            );
            for product in 0..self.products {
                files.insert(format!("d{domain}/products/p{product}.odcs.yaml"), self.contract(product));
            }
            // Files of ordinary length, and not one for all.
            for (part, start) in (0..own).step_by(100).enumerate() {
                let text = (start..own.min(start + 100)).map(|n| self.of_domain(domain, n)).collect();
                files.insert(format!("d{domain}/policies/{part}.cedar"), text);
            }
        }
        files
    }

    fn contract(&self, product: usize) -> String {
        let mut text = format!(
            "apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: 1.0.0\nstatus: active\n\
             schema:\n  - name: p{product}\n    physicalName: n.t{product}\n    tags: [{}]\n    properties:\n",
            if product.is_multiple_of(7) { "money" } else { "" },
        );
        for column in 0..self.columns {
            let tags = match column % 5 {
                0 => TAGS.get(column / 5 % TAGS.len()).copied().unwrap_or_default(),
                _ => "",
            };
            let kind = if column.is_multiple_of(3) { "long" } else { "string" };
            let _ = writeln!(text, "      - {{ name: c{column}, physicalType: {kind}, tags: [{tags}] }}");
        }
        text
    }

    fn mesh_wide(&self, n: usize) -> String {
        let (group, tag) = (n % GROUPS, TAGS.get(n % TAGS.len()).copied().unwrap_or_default());
        let id = format!("mesh-{n}");
        match n % 10 {
            0 => policy(&id, "", "permit", group, "read_masked", &format!("resource in Tag::\"{tag}\""), ""),
            1 => policy(&id, "", "forbid", group, "read", "resource in Tag::\"money.cost\"", FOREIGN),
            2 => policy(&id, "", "permit", group, "discover", "resource", ""),
            3 => policy(&id, "", "permit", group, "read", "resource", PURPOSE),
            _ => {
                let scope = format!("resource in Domain::\"d{}\"", n % self.domains.max(1));
                policy(&id, "", "permit", group, "discover", &scope, "")
            }
        }
    }

    fn of_domain(&self, domain: usize, n: usize) -> String {
        let product = n % self.products.max(1);
        let group = (n / self.products.max(1) + product * 7) % GROUPS;
        let id = format!("d{domain}-{n}");
        let whole = format!("resource in Product::\"d{domain}.p{product}\"");
        let column = format!("resource in Column::\"d{domain}.p{product}.c{}\"", n * 31 % self.columns.max(1));
        match n % 11 {
            0 | 1 => policy(&id, "", "permit", group, "discover", &whole, ""),
            2 | 3 => policy(&id, "", "permit", group, "read", &whole, "unless { resource in Tag::\"pii\" }"),
            4 => policy(&id, "", "permit", group, "read", &whole, LOCAL),
            5 => policy(&id, "@mask(\"show-last-4\") ", "permit", group, "read_masked", &column, ""),
            6 => policy(&id, "@mask(\"hmac(pii)\") ", "permit", group, "read_masked", &whole, PURPOSE),
            7 => policy(&id, "", "forbid", group, "read", &column, FOREIGN),
            8 => policy(&id, "@filter(\"c1 = principal.region\") ", "permit", group, "read_rows", &whole, ""),
            9 => policy(&id, "@filter(\"c0 > 5 AND c2 LIKE 'x%'\") ", "forbid", group, "read_rows", &whole, LOCAL),
            _ => policy(&id, "", "permit", group, "read", &column, ""),
        }
    }
}

const LOCAL: &str = "when { principal has region && principal.region == \"EU\" }";
const FOREIGN: &str = "unless { principal has region && [\"EU\", \"US\"].contains(principal.region) }";
const PURPOSE: &str = "when { context has purpose && context.purpose == \"fraud\" }";

fn policy(id: &str, annotation: &str, effect: &str, group: usize, action: &str, scope: &str, when: &str) -> String {
    format!(
        "@id(\"{id}\") {annotation}{effect} (principal in Group::\"g{group}\", action == Action::\"{action}\", {scope}) \
         {when};\n"
    )
}

fn mesh() -> String {
    let names: Vec<String> = (0..GROUPS).map(|group| format!("g{group}")).collect();
    let users: Vec<String> = (0..GROUPS)
        .map(|user| {
            let groups = [user, (user + 7) % GROUPS, (user + 50) % GROUPS].map(|group| format!("g{group}")).join(", ");
            let region = ["EU", "US", "XX"].get(user % 3).copied().unwrap_or_default();
            format!("{{ name: u{user}, groups: [{groups}], attributes: {{ region: {region} }} }}")
        })
        .collect();
    format!(
        "mesh: vast\ntags:\n  pii: {{ unmasked_for: [g0, g1], mask: hmac(pii) }}\n  pii.email: {{}}\n  pii.name: {{}}\n  \
         money: {{ unmasked_for: [g2, g3, g4] }}\n  money.cost: {{}}\n  open: {{}}\n\
         groups: [{}]\nattributes: {{ region: String }}\npurposes: {{ fraud: {{ groups: [g0, g5] }} }}\n\
         keys: {{ pii: \"${{file:secrets/pii}}\" }}\nauth:\n  users: [{}]\n",
        names.join(", "),
        users.join(", "),
    )
}
