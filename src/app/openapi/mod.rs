//! The API's description of itself: made from the mounted routes, completed by rule, and served in 3.1 and 3.0.

mod clients;
mod completion;
mod events;
mod older;
mod outputs;

use actix_web::web::Bytes;
use anyhow::Result;
use serde_json::Value;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

use crate::app::events::catalogue;

/// The documents as they are served.
pub struct Documents {
    /// OpenAPI 3.1.0.
    pub current: Bytes,
    /// The same as OpenAPI 3.0.3, for generators that know no newer one.
    pub older: Bytes,
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
            current: pretty(&current)?,
            older: pretty(&older)?,
        })
    }
}

fn pretty(document: &Value) -> Result<Bytes> {
    let text = serde_json::to_string_pretty(document)? + "\n";
    Ok(text.into_boxed_str().into_boxed_bytes().into())
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
