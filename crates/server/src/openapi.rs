//! The OpenAPI document: made of what each handler says of itself, plus what all of them share.
//!
//! A handler's `#[utoipa::path]` says where it is, what it takes and answers, who may use it and what it refuses;
//! `routes!` in [`router`](mod@crate::router) takes the route from the same words, so that the two cannot differ. To add
//! a route, copy a neighbour's attribute, then:
//!
//! - `operation_id` is the route's own name, unique in the document;
//! - `security` is one of `("apiKey" = [])`, `("sessionToken" = [])`, both of them, `("ticket" = [])`, `("portLink" = [])`,
//!   `("pictureLink" = [])` and `("mcpStream" = [])` (secrets in the path, for which OpenAPI has no word: they become
//!   `x-access`) and `()` for a route that is open to all;
//! - `responses` ends with one of the sets of refusals that are declared here.
//!
//! `e2e/security/test_access.py` reads the document and tries to get in everywhere.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use berth_agb_api::Code;
use berth_agb_api::envelope::Failure;
use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, SchemaType};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Response, Schema,
};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

/// The document, as it is served.
pub(crate) static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut document = json!(crate::router::routes().into_openapi());
    complete(&mut document);
    document.to_string()
});

/// Declares sets of refusals, to stand at the end of a route's `responses`.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $($code:ident)+;)+) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                refusals(&[$(Code::$code),+])
            }
        }
    )+};
}

refusals! {
    /// Of a route that can only fail by itself.
    Internal = DatabaseBusy Internal;
    /// Of a route that reads nothing but its path.
    OfPath = InvalidParameter;
    /// Of the metrics, which a setting closes.
    OfMetrics = InvalidApiKey RouteNotFound DatabaseBusy Internal;
    /// Of a route that takes an API key.
    Keyed = InvalidApiKey InvalidParameter MalformedBody BodyTooLarge DatabaseBusy Internal;
    /// Of a route that takes an API key and names an image.
    OfImage = InvalidApiKey InvalidParameter MalformedBody BodyTooLarge ImageNotFound DatabaseBusy Internal;
    /// Of a route that takes an API key and names a session.
    OfSession = InvalidApiKey InvalidParameter MalformedBody BodyTooLarge SessionNotFound SessionElsewhere DatabaseBusy
        Internal;
    /// Of a route that takes an API key and asks a session's guest.
    OfGuest = InvalidApiKey InvalidParameter MalformedBody BodyTooLarge SessionNotFound SessionElsewhere SessionOutdated
        SessionTimeout DatabaseBusy Internal;
    /// Of the creation of a session.
    OfCreation = InvalidApiKey InvalidParameter MalformedBody BodyTooLarge ImageNotFound NoCapacity QuotaSessions
        QuotaMemory QuotaCreations DatabaseBusy Internal;
    /// Of a tool call with an API key.
    OfCall = InvalidApiKey InvalidParameter MalformedBody BodyTooLarge SessionNotFound SessionElsewhere SessionTimeout
        DatabaseBusy Internal;
    /// Of a tool call with a session's token.
    OfLink = InvalidApiKey InvalidParameter MalformedBody BodyTooLarge SessionElsewhere SessionTimeout DatabaseBusy
        Internal;
    /// Of a WebSocket with a session's token.
    OfStream = InvalidApiKey InvalidParameter SessionNotFound SessionElsewhere SessionOutdated DatabaseBusy Internal;
    /// Of a WebSocket with a ticket in its path.
    OfTicket = InvalidParameter SessionNotFound SessionPaused SessionElsewhere SessionOutdated DatabaseBusy Internal;
    /// Of files with a ticket in their path.
    OfTicketFile = InvalidParameter SessionNotFound RightMissing SessionElsewhere SessionOutdated SessionTimeout DatabaseBusy
        Internal;
    /// Of a page with a ticket in its path, whose own refusals are pages.
    OfPage = InvalidParameter SessionElsewhere DatabaseBusy Internal;
    /// Of a port with a link in its path.
    OfLinkedPort = InvalidParameter MalformedBody LinkNotFound LinkEnded SessionElsewhere SessionOutdated
        PortUnavailable DatabaseBusy Internal;
    /// Of a picture with a link in its path.
    OfPicture = InvalidParameter LinkNotFound LinkEnded SessionElsewhere SessionOutdated SessionTimeout DatabaseBusy
        Internal;
    /// Of a message of MCP.
    OfMcp = InvalidApiKey InvalidParameter MalformedBody BodyTooLarge McpSessionNotFound SessionElsewhere DatabaseBusy
        Internal;
    /// Of a message of MCP to an event stream.
    OfMcpStream = InvalidParameter MalformedBody BodyTooLarge McpSessionNotFound;
    /// Of a file that may not be there.
    OfFile = InvalidParameter RouteNotFound;
}

/// What all routes share.
pub(crate) fn shared() -> OpenApi {
    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key, from `berth key create`."))
        .build();
    let token = ApiKeyValue::with_description(
        "X-Access-Token",
        "The `token` that `createSession` and `getSession` answer: for one session's link and stream.",
    );
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Berth")
                .description(Some(
                    "The AGB API and Berth's own routes. Every refusal has the same envelope, with a `code` for \
                     programs and a `message` that says what is allowed. `x-access` says who may use a route: the \
                     holder of an API key (`apiKey`), of a session's token (`sessionToken`), of either \
                     (`apiKeyOrSessionToken`), of a secret in the path (`ticket` of a live view, `portLink` of a port, \
                     `pictureLink` of a picture, `mcpStream` of an MCP client), or anybody (`open`).",
                ))
                .version(env!("CARGO_PKG_VERSION"))
                .build(),
        )
        .components(Some(
            ComponentsBuilder::new()
                .security_scheme("apiKey", SecurityScheme::Http(key))
                .security_scheme("sessionToken", SecurityScheme::ApiKey(ApiKey::Header(token)))
                .schema(Failure::name(), Failure::schema())
                .build(),
        ))
        .build()
}

/// One answer for each status that the codes have.
fn refusals(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status()).or_default().push(code.as_str());
    }
    let answers = by_status.into_iter().map(|(status, codes)| {
        let only = |values: Vec<Value>| {
            ObjectBuilder::new()
                .schema_type(SchemaType::AnyValue)
                .enum_values(Some(values))
        };
        let narrowed = ObjectBuilder::new()
            .property("code", only(codes.iter().map(|code| json!(code)).collect()))
            .property("success", only(vec![json!(false)]))
            .property("httpStatusCode", only(vec![json!(status)]));
        let schema = AllOfBuilder::new()
            .item(Ref::from_schema_name(Failure::name()))
            .item(narrowed)
            .build();
        let mut answer = Response::new(codes.join(", "));
        answer.content.insert(
            "application/json".to_owned(),
            RefOr::T(Content::new(Some(Schema::AllOf(schema)))),
        );
        (status.to_string(), RefOr::T(answer))
    });
    answers.collect()
}

/// Says for each operation who may use it, and puts into OpenAPI's words what the router says in its own.
fn complete(document: &mut Value) {
    let paths = document
        .get_mut("paths")
        .and_then(Value::as_object_mut)
        .map(std::mem::take)
        .unwrap_or_default();
    let mut completed = Map::new();
    for (path, mut item) in paths {
        let operations = item.as_object_mut().into_iter().flatten();
        let mut operations: Vec<(&String, &mut Value)> = operations.collect();
        let several = operations.len() > 1;
        for (method, operation) in &mut operations {
            let access = access(operation);
            // A secret in a path is nothing that OpenAPI has a scheme for.
            if matches!(access, Some("ticket" | "portLink" | "pictureLink" | "mcpStream")) {
                operation["security"] = json!([{}]);
            }
            operation["x-access"] = json!(access);
            // One handler for several methods is several operations.
            if several && let Some(id) = operation["operationId"].as_str() {
                operation["operationId"] = json!(format!("{id}.{method}"));
            }
        }
        // `{*rest}` takes several segments; here it is a parameter like any other.
        completed.insert(path.replace("{*", "{"), item);
    }
    document["paths"] = Value::Object(completed);
}

/// The access class that an operation declares.
fn access(operation: &Value) -> Option<&'static str> {
    // Each is one way in; a way without a name is open, and a setting may close it.
    let ways: Vec<_> = operation["security"]
        .as_array()?
        .iter()
        .map(|way| way.as_object()?.keys().next().map(String::as_str))
        .collect();
    match ways[..] {
        [None, ..] => Some("open"),
        [Some("apiKey"), Some("sessionToken")] => Some("apiKeyOrSessionToken"),
        [Some(name)] => [
            "apiKey",
            "sessionToken",
            "ticket",
            "portLink",
            "pictureLink",
            "mcpStream",
        ]
        .into_iter()
        .find(|known| *known == name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn operations() -> Vec<(String, Value)> {
        let document: Value = serde_json::from_str(&DOCUMENT).unwrap();
        let paths = document["paths"].as_object().unwrap().clone();
        paths
            .into_iter()
            .flat_map(|(path, item)| {
                let item = item.as_object().unwrap().clone();
                item.into_iter()
                    .map(move |(method, operation)| (format!("{method} {path}"), operation))
            })
            .collect()
    }

    #[test]
    fn every_route_declares_who_may_use_it() {
        let silent: Vec<_> = operations()
            .into_iter()
            .filter_map(|(route, operation)| operation["x-access"].is_null().then_some(route))
            .collect();
        assert!(silent.is_empty(), "give these a `security`: {silent:?}");
    }

    #[test]
    fn every_route_has_a_name_of_its_own_and_a_description() {
        let mut names = BTreeSet::new();
        for (route, operation) in operations() {
            assert!(operation["summary"].is_string(), "{route} has no doc comment");
            let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
            assert!(
                names.insert(name.clone()),
                "{route}: `{name}` is another route's operation_id"
            );
        }
    }

    #[test]
    fn a_refusal_names_its_codes() {
        let (_, create) = operations()
            .into_iter()
            .find(|(route, _)| route == "post /mcp/createSession")
            .unwrap();
        let schema = &create["responses"]["503"]["content"]["application/json"]["schema"];
        assert_eq!(
            schema["allOf"][1]["properties"]["code"]["enum"],
            json!(["NoCapacity", "DatabaseBusy"])
        );
    }
}
