//! `GET /v1/products` and `GET /v1/products/<domain>/<product>[@major]`: what the mesh has, for programs and for people.
//!
//! ```text
//! curl -u analyst-eu http://127.0.0.1:8080/v1/products/storefront/customers        JSON
//! a browser at the same address                                                    a page
//! ```
//!
//! Whoever asks is known as for statements, and sees what `mesh.*` shows. A product that may not be discovered is not there.
//! A page has no scripts and loads nothing; every text in it is somebody else's and is written as text.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::accept::wants_html;
use super::door::Peer;
use super::problem::Problem;
use super::sql::{Sql, guard};
use crate::error::{Class, Error};
use crate::flight::caller_by_headers;
use crate::session::{Health, Link, Page};

/// What a page may do: nothing but show itself.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
                     table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.3rem .6rem;\
                     text-align:left;vertical-align:top}code{background:#eee;padding:0 .2rem}";

/// All products.
pub(super) async fn list(
    State(sql): State<Arc<Sql>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response<Body> {
    told(&sql, listed(&sql, &peer, request).await)
}

/// One product.
pub(super) async fn one(
    State(sql): State<Arc<Sql>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((domain, product)): Path<(String, String)>,
    request: Request,
) -> Response<Body> {
    told(&sql, found(&sql, &peer, &domain, &product, request).await)
}

fn told(sql: &Sql, answer: Result<Response<Body>, Problem>) -> Response<Body> {
    let mut response = answer.unwrap_or_else(|problem| {
        sql.counters.fail(&problem.error);
        problem.response()
    });
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, authorization, x-polder-purpose"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn listed(sql: &Sql, peer: &Peer, request: Request) -> Result<Response<Body>, Problem> {
    guard(peer, &request, sql.auth.required())?;
    let headers = request.into_parts().0.headers;
    let principal = caller_by_headers(&sql.auth, &peer.as_caller(), &headers).await?.principal;
    let for_people = for_people(&headers)?;
    let _place = sql.queries.admit(&principal.id)?;
    let pages = sql.engine.pages(&principal).await?;
    Ok(if for_people { html("products", &of_all(&pages)) } else { json(&pages)? })
}

async fn found(
    sql: &Sql,
    peer: &Peer,
    domain: &str,
    product: &str,
    request: Request,
) -> Result<Response<Body>, Problem> {
    guard(peer, &request, sql.auth.required())?;
    let headers = request.into_parts().0.headers;
    let principal = caller_by_headers(&sql.auth, &peer.as_caller(), &headers).await?.principal;
    let for_people = for_people(&headers)?;
    let _place = sql.queries.admit(&principal.id)?;
    let page = sql.engine.page(&principal, domain, product).await?;
    let title = format!("{}.{}", page.domain, page.product);
    Ok(if for_people { html(&title, &of_one(&page)) } else { json(&page)? })
}

/// Whether a page is wanted, and not JSON.
fn for_people(headers: &HeaderMap) -> Result<bool, Problem> {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    wants_html(accept).ok_or_else(|| {
        let error = Error::new(Class::BadRequest, "none of the formats that are accepted is offered");
        Problem::new(StatusCode::NOT_ACCEPTABLE, error.help("accept `application/json` or `text/html`"))
    })
}

fn json(what: &impl serde::Serialize) -> Result<Response<Body>, Problem> {
    let text = serde_json::to_string_pretty(what)
        .map_err(|_| Error::new(Class::Bug, "a page could not be written as JSON"))?;
    Ok(answer("application/json", text + "\n"))
}

fn answer(kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn html(title: &str, body: &str) -> Response<Body> {
    let title = text(title);
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n{body}</body></html>\n"
    );
    answer("text/html; charset=utf-8", page)
}

fn of_all(pages: &[Page]) -> String {
    let row = |page: &Page| {
        let description = page.description.as_deref().unwrap_or_default();
        let name = link(&page.domain, &page.product);
        format!("<tr><td>{name}<td>{}<td>{}<td>{}\n", text(&page.version), text(&page.owner), text(description))
    };
    let rows: String = pages.iter().map(row).collect();
    format!("<table><tr><th>product<th>version<th>owner<th>what it is\n{rows}</table>\n")
}

fn of_one(page: &Page) -> String {
    let mut facts = vec![
        ("address", page.uri.clone()),
        ("version", format!("{} ({})", page.version, page.status)),
        ("what it is", page.description.clone().unwrap_or_default()),
        ("what it is for", page.purpose.clone().unwrap_or_default()),
        ("owner", page.owner.clone()),
        ("contact", page.contact.join(", ")),
        ("help", page.support.join(", ")),
        ("promises", page.sla.join(", ")),
        ("licence", page.licence.clone().unwrap_or_default()),
        ("tags", page.tags.join(", ")),
        ("key", page.key.join(", ")),
        ("state", page.health.as_ref().map(state).unwrap_or_default()),
        ("quality", page.quality.unwrap_or_default().to_owned()),
        ("ends", page.ends.clone().unwrap_or_default()),
    ];
    facts.retain(|(_, fact)| !fact.is_empty());
    let facts: String = facts.iter().map(|(what, fact)| format!("<tr><th>{what}<td>{}\n", text(fact))).collect();
    let columns: String = page
        .columns
        .iter()
        .map(|column| {
            let cells = [&column.name, &column.kind, &column.access].map(|cell| text(cell)).join("<td>");
            let description = text(column.description.as_deref().unwrap_or_default());
            let [tags, examples] = [&column.tags, &column.examples].map(|texts| text(&texts.join(", ")));
            format!("<tr><td>{cells}<td>{tags}<td>{description}<td>{examples}\n")
        })
        .collect();
    let versions: String = page
        .versions
        .iter()
        .map(|other| {
            let ends = other.ends.as_ref().map(|ends| format!(", ends {ends}")).unwrap_or_default();
            let said = format!("{} ({}{ends})", other.version, other.status);
            format!("<li>{} {}\n", link(&page.domain, &other.product), text(&said))
        })
        .collect();
    let versions =
        if versions.is_empty() { versions } else { format!("<h2>other versions</h2>\n<ul>\n{versions}</ul>\n") };
    let links = |title: &str, links: &[Link]| {
        let items: String =
            links.iter().map(|other| format!("<li>{}\n", link(&other.domain, &other.product))).collect();
        if items.is_empty() { String::new() } else { format!("<h2>{title}</h2>\n<ul>\n{items}</ul>\n") }
    };
    format!(
        "<table>{facts}</table>\n<h2>columns</h2>\n\
         <table><tr><th>name<th>type<th>access<th>tags<th>what it is<th>for example\n{columns}</table>\n{versions}{}{}",
        links("made of", &page.upstream),
        links("what is made of it", &page.downstream)
    )
}

/// How a product is, and why.
fn state(Health { state, reason }: &Health) -> String {
    reason.as_ref().map_or_else(|| state.clone(), |reason| format!("{state}: {reason}"))
}

/// A link to the page of a product. Names have no slash and no `#`.
fn link(domain: &str, product: &str) -> String {
    let [in_path, shown] = [[domain, product].join("/"), [domain, product].join(".")];
    let in_path = in_path.replace('%', "%25").replace('?', "%3F");
    format!("<a href=\"/v1/products/{}\">{}</a>", text(&in_path), text(&shown))
}

/// A text that is no markup.
fn text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_team_writes_is_no_markup() {
        let said = text("<script>alert('x') & \"y\"</script>");
        assert!(!said.contains(['<', '>', '"', '\'']), "{said}");
        assert_eq!(said, "&lt;script&gt;alert(&#39;x&#39;) &amp; &quot;y&quot;&lt;/script&gt;");
    }
}
