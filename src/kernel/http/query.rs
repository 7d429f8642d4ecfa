//! Query parameters of operations that are no lists.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::kernel::{
    error::{Error, FieldCode, INVALID_PARAMETER, Problem, Result, UNKNOWN_PARAMETER},
    shape::read,
};

/// The query as a `T` whose fields are texts or words. Each parameter may be given once; unknown ones are refused.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Error;
    type Future = Ready<Result<Query<T>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse(request.query_string()).map(Query).map_err(Error::from))
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let mut parameters = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let twice = parameters
            .insert(name.to_string(), Value::String(value.into_owned()))
            .is_some();
        if twice {
            return Err(Problem::from(INVALID_PARAMETER).field(
                format!("query/{name}"),
                FieldCode::TooMany,
                "Once only.",
            ));
        }
    }
    read(&Value::Object(parameters), "query").map_err(|error| {
        let kind = if error.code == FieldCode::UnknownField {
            UNKNOWN_PARAMETER
        } else {
            INVALID_PARAMETER
        };
        Problem::from(kind).field(error.pointer, error.code, error.detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        #[serde(default)]
        colour: Option<Colour>,
    }

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Colour {
        Red,
    }

    fn refused(query: &str) -> (&'static str, String) {
        let problem = parse::<Wanted>(query).expect_err("refused");
        (problem.kind().code, problem.case().errors[0].pointer.clone())
    }

    #[test]
    fn parameters_are_read_once_and_known() {
        assert_eq!(parse::<Wanted>("").expect("fine").colour, None);
        assert_eq!(parse::<Wanted>("colour=red").expect("fine").colour, Some(Colour::Red));
        assert_eq!(refused("colour=blue"), ("invalid-parameter", "query/colour".into()));
        assert_eq!(
            refused("colour=red&colour=red"),
            ("invalid-parameter", "query/colour".into())
        );
        assert_eq!(refused("color=red"), ("unknown-parameter", "query/color".into()));
    }
}
