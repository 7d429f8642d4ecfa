//! What checking a value against a schema can cost, known before it is done. The text of a schema says little about that: branches that
//! lead back to where they came from double the work at every level of the value. So the places of a schema and the ways between them are
//! read first; what could not be bounded is refused, and every value is measured by the places that its depths can reach.

use serde_json::Value;

use super::reading;

/// As many schemas may look at one value, one behind the other …
const CHAIN: usize = 24;
/// … and in all.
const SPREAD: u64 = 1_000;

/// One schema within a schema.
#[derive(Default)]
pub(super) struct Place {
    /// What one look at a value costs.
    pub(super) look: u64,
    /// What each byte of a text costs on top.
    pub(super) byte: u64,
    /// How often all that is in it is compared.
    pub(super) unique: u64,
    /// Places that look at the same value …
    pub(super) here: Vec<usize>,
    /// … at a member of it, unless another of these does …
    pub(super) member: Vec<usize>,
    /// … at any member of it, or its name …
    pub(super) any_member: Vec<usize>,
    /// … at an element of it, unless another of these does …
    pub(super) element: Vec<usize>,
    /// … at any element of it.
    pub(super) any_element: Vec<usize>,
}

/// The places of a schema and the ways between them.
#[derive(Default)]
pub(super) struct Shape {
    pub(super) places: Vec<Place>,
    /// The places, each before those that look at the same value because of it.
    order: Vec<usize>,
    /// How many look at one value, one behind the other, at most.
    chain: usize,
    /// Whether a value may fit in one of several ways.
    pub(super) branches: bool,
    /// The bytes of all compiled patterns.
    pub(super) patterns: usize,
}

/// How much of a value there is at one depth.
#[derive(Clone, Copy, Default)]
struct Level {
    values: u64,
    bytes: u64,
}

impl Shape {
    /// Reads a schema.
    ///
    /// # Errors
    /// Why its cost cannot be bounded, for its author.
    pub(super) fn of(schema: &Value) -> Result<Shape, String> {
        let mut shape = reading::read(schema)?;
        shape.arrange()?;
        Ok(shape)
    }

    /// Finds the order of the places, and refuses what looks at one value for too long.
    fn arrange(&mut self) -> Result<(), String> {
        let mut found = vec![None; self.places.len()];
        for place in 0..self.places.len() {
            let (chain, spread) = self.follow(place, 1, &mut found)?;
            self.chain = self.chain.max(chain);
            if spread > SPREAD {
                return Err(format!("At most {SPREAD} schemas may look at one value."));
            }
        }
        self.order.reverse();
        Ok(())
    }

    /// How many places look at the same value because of this one: one behind the other, and in all.
    fn follow(
        &mut self,
        place: usize,
        depth: usize,
        found: &mut [Option<(usize, u64)>],
    ) -> Result<(usize, u64), String> {
        if let Some(known) = found[place] {
            return Ok(known);
        }
        let (mut chain, mut spread) = (1, 1_u64);
        for next in self.places[place].here.clone() {
            if depth < CHAIN {
                let (longer, more) = self.follow(next, depth + 1, found)?;
                chain = chain.max(longer + 1);
                spread = spread.saturating_add(more);
            }
            if depth >= CHAIN || chain > CHAIN {
                return Err(format!(
                    "A schema refers to itself without going into the value, or more than {CHAIN} look at it one behind the other."
                ));
            }
        }
        found[place] = Some((chain, spread));
        self.order.push(place);
        Ok((chain, spread))
    }

    /// The most that checking a value can cost, in looks.
    pub(super) fn cost(&self, value: &Value) -> u64 {
        let levels = levels(value);
        let looks = self.reach(levels.len(), |place| place.look);
        let bytes = self.reach(levels.len(), |place| place.byte);
        let unique = self.reach(levels.len(), |place| place.unique);
        let (mut sum, mut within) = (0_u64, 0_u64);
        // From the deepest one upwards: what is compared whole costs all that is in it.
        for (depth, level) in levels.iter().enumerate().rev() {
            within = within.saturating_add(level.values).saturating_add(level.bytes);
            let looks = level.values.saturating_mul(looks[depth]);
            let bytes = level.bytes.saturating_mul(bytes[depth]);
            let unique = within.saturating_mul(unique[depth]);
            sum = sum.saturating_add(looks).saturating_add(bytes).saturating_add(unique);
        }
        sum
    }

    /// How deep the check of a value goes.
    pub(super) fn depth(&self, value: &Value) -> usize {
        self.chain * levels(value).len()
    }

    /// Whether a fault may have to be told for each of several ways.
    pub(super) fn has_branches(&self) -> bool {
        self.branches
    }

    /// By depth: the most that one value there costs all the places that can look at it.
    fn reach(&self, depth: usize, price: impl Fn(&Place) -> u64) -> Vec<u64> {
        let mut now: Vec<u64> = self.places.iter().map(&price).collect();
        self.gather(&mut now);
        let mut reach = Vec::with_capacity(depth);
        for _ in 0..depth {
            reach.push(now.first().copied().unwrap_or(0));
            let mut deeper: Vec<u64> = self.places.iter().map(|place| place.deeper(&now)).collect();
            self.gather(&mut deeper);
            now = deeper;
        }
        reach
    }

    /// Adds to each place what it makes others look at the same value.
    fn gather(&self, sums: &mut [u64]) {
        for place in self.order.iter().rev() {
            let more = self.places[*place].here.iter().map(|next| sums[*next]);
            sums[*place] = more.fold(sums[*place], u64::saturating_add);
        }
    }
}

impl Place {
    /// The most that one value costs which is one level deeper.
    fn deeper(&self, now: &[u64]) -> u64 {
        let most = |places: &[usize]| places.iter().map(|place| now[*place]).max().unwrap_or(0);
        let all = |places: &[usize]| {
            let each = places.iter().map(|place| now[*place]);
            each.fold(0, u64::saturating_add)
        };
        let member = most(&self.member).saturating_add(all(&self.any_member));
        let element = most(&self.element).saturating_add(all(&self.any_element));
        member.max(element)
    }
}

/// How much of a value there is at each depth. The names of members count as texts of the object and as texts below it.
fn levels(value: &Value) -> Vec<Level> {
    let mut levels = Vec::new();
    let mut open: Vec<&Value> = vec![value];
    let mut names = 0;
    while !open.is_empty() {
        let mut level = Level {
            values: open.len() as u64,
            bytes: std::mem::take(&mut names),
        };
        let mut deeper = Vec::new();
        for value in open {
            match value {
                Value::String(text) => level.bytes += text.len() as u64,
                Value::Array(elements) => deeper.extend(elements),
                Value::Object(members) => {
                    names += members.keys().map(|name| name.len() as u64).sum::<u64>();
                    deeper.extend(members.values());
                }
                _ => {}
            }
        }
        level.bytes += names;
        levels.push(level);
        open = deeper;
    }
    levels
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn cost(schema: &Value, value: &Value) -> u64 {
        Shape::of(schema).expect("can be bounded").cost(value)
    }

    #[test]
    fn a_record_costs_what_it_has_and_not_what_its_schema_knows() {
        let record = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}, "c": {"type": "null"}}});
        let schema = json!({"type": "array", "items": record});
        assert_eq!(cost(&schema, &json!([])), 2);
        assert_eq!(cost(&schema, &json!([{"a": "x"}])), 6);
        assert_eq!(cost(&schema, &json!([{"a": "x"}, {"a": "y", "b": 1}])), 12);
    }

    #[test]
    fn branches_that_come_back_double_with_every_level() {
        let schema = json!({"anyOf": [{"properties": {"x": {"$ref": "#"}}}, {"properties": {"x": {"$ref": "#"}}}]});
        let nested = |depth| (0..depth).fold(json!(1), |value, _| json!({ "x": value }));
        assert!(cost(&schema, &nested(10)) > 1 << 10);
        assert!(cost(&schema, &nested(40)) > 1 << 40);
        assert_eq!(cost(&schema, &nested(90)), u64::MAX);
        let list = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        let chain = (0..50).fold(json!({}), |value, _| json!({ "next": value }));
        assert_eq!(cost(&list, &chain), 51 * 2 + 50);
    }

    #[test]
    fn what_cannot_be_bounded_is_refused() {
        let doubled: Map<String, Value> = (0..20)
            .map(|n| {
                let next = json!({"$ref": format!("#/$defs/a{}", n + 1)});
                (format!("a{n}"), json!({"allOf": [next, next]}))
            })
            .chain([("a20".to_owned(), json!(true))])
            .collect();
        for schema in [
            json!({"$ref": "#"}),
            json!({"$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}),
            json!({"$ref": "#/$defs/a0", "$defs": doubled}),
            json!({"unevaluatedProperties": false}),
            json!({"$dynamicRef": "#a"}),
            json!({"properties": {"a": {"$id": "other", "$ref": "#"}}}),
            json!({"$ref": "#/hidden", "hidden": {"type": "string"}}),
            json!({"$ref": "#/$defs/b", "$defs": {"a": true}}),
            json!({"properties": (0..1_000).map(|n| (n.to_string(), json!(true))).collect::<Map<_, _>>()}),
        ] {
            assert!(
                Shape::of(&schema).is_err(),
                "{}",
                crate::kernel::check::brief(&schema.to_string(), 300)
            );
        }
    }
}
