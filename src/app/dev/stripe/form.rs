//! Stripe's request encoding: `application/x-www-form-urlencoded` with nested keys, in queries and in bodies alike.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::refusal::{Refusal, Told};

/// The parameters of one request. Leaves are text, as they were sent; an empty text means "clear this".
#[derive(Clone, Default)]
pub(super) struct Params(Map<String, Value>);

#[derive(Default)]
struct Node {
    leaf: Option<String>,
    below: BTreeMap<String, Node>,
}

impl Node {
    fn insert(&mut self, path: &[&str], value: String) {
        match path {
            [] => self.leaf = Some(value),
            [first, rest @ ..] => {
                let key = if first.is_empty() {
                    self.below.len().to_string()
                } else {
                    (*first).to_owned()
                };
                self.below.entry(key).or_default().insert(rest, value);
            }
        }
    }

    fn into_value(self) -> Value {
        if let Some(leaf) = self.leaf {
            return Value::String(leaf);
        }
        let numbered = !self.below.is_empty() && self.below.keys().all(|k| k.parse::<u32>().is_ok());
        if numbered {
            let mut items: Vec<(u32, Node)> = self
                .below
                .into_iter()
                .map(|(k, n)| (k.parse().unwrap_or_default(), n))
                .collect();
            items.sort_by_key(|(index, _)| *index);
            return Value::Array(items.into_iter().map(|(_, node)| node.into_value()).collect());
        }
        Value::Object(self.below.into_iter().map(|(k, n)| (k, n.into_value())).collect())
    }
}

impl Params {
    /// Reads `a=1&b[c]=2&d[]=3&d[1][e]=4`.
    pub(super) fn parse(encoded: &str) -> Self {
        let mut root = Node::default();
        for (key, value) in url::form_urlencoded::parse(encoded.as_bytes()) {
            let (head, tail) = key.split_once('[').unwrap_or((key.as_ref(), ""));
            let mut path = vec![head];
            path.extend(tail.split('[').filter_map(|part| part.strip_suffix(']')));
            root.insert(&path, value.into_owned());
        }
        let pairs = root.below.into_iter().map(|(k, n)| (k, n.into_value())).collect();
        Self(pairs)
    }

    /// The same parameters in one spelling, for comparing two requests under one idempotency key.
    pub(super) fn canonical(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// Adds the parameters of a body to those of a query.
    pub(super) fn merge(&mut self, other: Params) {
        self.0.extend(other.0);
    }

    /// Sets one parameter, as the control surface does on behalf of a shopper.
    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// Refuses every parameter that is not listed, as Stripe does. `expand` is always known.
    pub(super) fn only(&self, names: &[&str]) -> Told<()> {
        match self.0.keys().find(|k| *k != "expand" && !names.contains(&k.as_str())) {
            Some(unknown) => Err(Refusal::unknown_parameter(unknown)),
            None => Ok(()),
        }
    }

    /// The text of a parameter, unless it is absent or empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// True when the parameter was sent, even empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn require(&self, name: &str) -> Told<&str> {
        self.text(name).ok_or_else(|| Refusal::missing_parameter(name))
    }

    pub(super) fn integer(&self, name: &str) -> Told<Option<i64>> {
        self.text(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| Refusal::invalid(name, &format!("Invalid integer: {text}")))
            })
            .transpose()
    }

    pub(super) fn flag(&self, name: &str) -> Told<Option<bool>> {
        self.text(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| Refusal::invalid(name, &format!("Invalid boolean: {text}")))
            })
            .transpose()
    }

    /// The parameters under a name: `recurring[interval]`.
    pub(super) fn under(&self, name: &str) -> Option<Params> {
        self.0
            .get(name)
            .and_then(Value::as_object)
            .map(|map| Params(map.clone()))
    }

    /// A list of groups: `items[0][price]`.
    pub(super) fn groups(&self, name: &str) -> Vec<Params> {
        let items = self.0.get(name).and_then(Value::as_array);
        items
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .map(|map| Params(map.clone()))
            .collect()
    }

    /// A list of texts: `expand[]=customer`; one text counts as a list of one.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    /// Merges `metadata[key]=value` into an object's metadata; an empty value removes the key.
    pub(super) fn metadata(&self, object: &mut Value) {
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        for (key, value) in self.under("metadata").map(|p| p.0).unwrap_or_default() {
            match value.as_str() {
                Some("") => drop(object["metadata"].as_object_mut().map(|map| map.remove(&key))),
                _ => object["metadata"][key] = value,
            }
        }
    }

    /// Copies the named texts into an object; an empty text becomes `null`.
    pub(super) fn copy(&self, names: &[&str], object: &mut Value) {
        for name in names.iter().filter(|name| self.has(name)) {
            object[*name] = self.text(name).map_or(Value::Null, |text| json!(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Params;

    #[test]
    fn nested_keys_become_groups_and_lists() {
        let params =
            Params::parse("customer=cus_1&items[0][price]=price_1&items[1][quantity]=2&expand[]=a&expand[]=b.c");
        assert_eq!(params.text("customer"), Some("cus_1"));
        assert_eq!(params.groups("items")[0].text("price"), Some("price_1"));
        assert_eq!(params.groups("items")[1].text("quantity"), Some("2"));
        assert_eq!(params.texts("expand"), ["a", "b.c"]);
    }

    #[test]
    fn an_empty_value_clears() {
        let mut object = serde_json::json!({ "metadata": { "a": "1", "b": "2" }, "name": "Ada" });
        let params = Params::parse("metadata[a]=&name=");
        params.metadata(&mut object);
        params.copy(&["name"], &mut object);
        assert_eq!(object, serde_json::json!({ "metadata": { "b": "2" }, "name": null }));
    }
}
