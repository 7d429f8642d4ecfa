//! The API's description of itself: made from the mounted routes, completed by rule, and served in 3.1 and 3.0.

mod clients;
mod completion;
mod events;
mod older;
mod outputs;

use std::sync::LazyLock;

use actix_web::web::Bytes;
use anyhow::Result;
use serde_json::Value;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

use crate::{
    app::{api, events::catalogue},
    kernel::crypto,
};

/// The documents as they are served.
pub struct Documents {
    /// OpenAPI 3.1.0.
    pub current: Document,
    /// The same as OpenAPI 3.0.3, for generators that know no newer one.
    pub older: Document,
}

/// The documents of a process: written once it serves, or when somebody asks for them before.
pub type Written = LazyLock<Documents, Box<dyn FnOnce() -> Documents + Send>>;

/// One of them.
pub struct Document {
    /// As it is sent.
    pub text: Bytes,
    /// Its `ETag`.
    pub tag: String,
}

impl Document {
    fn of(document: &Value) -> Result<Document> {
        let text = serde_json::to_string_pretty(document)? + "\n";
        let hash = crypto::sha256(text.as_bytes());
        Ok(Document {
            tag: format!("\"{}\"", hex::encode(&hash[..16])),
            text: text.into_boxed_str().into_boxed_bytes().into(),
        })
    }
}

impl Documents {
    /// Writes the documents, with the server's own address.
    ///
    /// # Errors
    /// A description that breaks a rule of the house; it names the operation.
    pub fn new(routes: &OpenApi, public_url: &str) -> Result<Documents> {
        let mut current = serde_json::to_value(routes)?;
        events::describe(&mut current, &catalogue());
        outputs::complete(&mut current);
        completion::complete(&mut current)?;
        current["servers"] = serde_json::json!([{ "url": public_url, "description": "This deployment." }]);
        let older = older::downgraded(&current);
        Ok(Documents {
            current: Document::of(&current)?,
            older: Document::of(&older)?,
        })
    }
}

/// The documents of the mounted routes, once they are asked for.
pub fn in_time(public_url: String) -> Written {
    LazyLock::new(Box::new(move || {
        let written = Documents::new(&api::document(), &public_url);
        written.expect("the routes keep the rules of the house: the tests write the same documents")
    }))
}

/// What stands at the head of the document.
pub fn information() -> OpenApi {
    let license = LicenseBuilder::new()
        .name("Apache-2.0")
        .identifier(Some("Apache-2.0"))
        .build();
    let info = InfoBuilder::new()
        .title("Guildhall")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(env!("CARGO_PKG_DESCRIPTION")))
        .license(Some(license))
        .build();
    OpenApiBuilder::new().info(info).build()
}
