//! The statements that one workspace tries against another's rows, table by table, and what must come of each.

use serde_json::Value;

use super::{
    seed::{A, B, Row, Seeds, insert, literal},
    shape::{Registry, Table},
};

/// What one statement tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    SelectOwn,
    Select,
    SelectOthers,
    ForUpdate,
    Aggregate,
    Exists,
    Join,
    InsertOwn,
    InsertForOther,
    InsertChild,
    UpdateById,
    UpdateMoving,
    UpdateReturning,
    UpdateFrom,
    DeleteById,
    DeleteReturning,
    DeleteUsing,
    Merge,
    Upsert,
    DoNothing,
    Truncate,
}

/// One statement.
#[derive(Clone, Debug)]
pub struct Probe {
    pub table: String,
    /// The column that holds the workspace.
    pub key: String,
    pub verb: Verb,
    pub statement: String,
}

/// Everything that is tried against one table, in B's name against A's row.
pub fn of_table(table: &Table, tables: &[Table], registry: &Registry, rows: Rows<'_>) -> Vec<Probe> {
    let key = &registry.walled[&table.name].key;
    let builder = Builder { table, key, rows };
    let mut probes = builder.reads();
    probes.extend(builder.joins(tables, registry));
    probes.extend(builder.inserts(registry));
    probes.extend(builder.changes());
    probes
}

/// The rows that probes are made from.
#[derive(Clone, Copy)]
pub struct Rows<'r> {
    /// A's.
    pub a: &'r Row,
    /// B's.
    pub b: &'r Row,
    /// One that B could insert.
    pub fresh: &'r Row,
    /// All of them.
    pub seeds: &'r Seeds,
}

struct Builder<'p> {
    table: &'p Table,
    key: &'p str,
    rows: Rows<'p>,
}

impl Builder<'_> {
    fn probe(&self, verb: Verb, statement: String) -> Probe {
        Probe {
            table: self.table.name.clone(),
            key: self.key.to_owned(),
            verb,
            statement,
        }
    }

    /// "This very row of A", without saying whose it is, where that names no row of B too.
    fn by_id(&self) -> String {
        let names: Vec<&String> = self.table.primary_key.iter().filter(|name| *name != self.key).collect();
        let same = |name: &&String| self.rows.a.get(*name) == self.rows.b.get(*name);
        if names.is_empty() || names.iter().all(same) {
            return format!("{} = '{A}'", self.key);
        }
        let conditions = names
            .iter()
            .map(|name| format!("{name} = {}", literal(&self.rows.a[*name])));
        conditions.collect::<Vec<_>>().join(" AND ")
    }

    fn reads(&self) -> Vec<Probe> {
        let (table, key) = (&self.table.name, self.key);
        vec![
            self.probe(Verb::SelectOwn, format!("SELECT 1 FROM {table} WHERE {key} = '{B}'")),
            self.probe(Verb::Select, format!("SELECT 1 FROM {table} WHERE {key} = '{A}'")),
            self.probe(
                Verb::SelectOthers,
                format!("SELECT 1 FROM {table} WHERE {key} <> '{B}'"),
            ),
            self.probe(
                Verb::ForUpdate,
                format!("SELECT 1 FROM {table} WHERE {key} = '{A}' FOR UPDATE"),
            ),
            self.probe(
                Verb::Aggregate,
                format!(
                    "SELECT 1 WHERE (SELECT count(*) FROM {table}) > (SELECT count(*) FROM {table} WHERE {key} = '{B}')"
                ),
            ),
            self.probe(
                Verb::Exists,
                format!("SELECT 1 WHERE EXISTS (SELECT FROM {table} WHERE {})", self.by_id()),
            ),
        ]
    }

    fn joins(&self, tables: &[Table], registry: &Registry) -> Vec<Probe> {
        let mut probes = Vec::new();
        for reference in &self.table.foreign_keys {
            let Some(line) = registry.walled.get(&reference.target) else {
                continue;
            };
            let Some(target) = tables.iter().find(|table| table.name == reference.target) else {
                continue;
            };
            let pairs = reference.columns.iter().zip(&reference.target_columns);
            let readable = pairs.clone().all(|(from, to)| {
                let may = |table: &Table, name: &str| table.column(name).is_some_and(|column| column.may_select);
                may(self.table, from) && may(target, to)
            });
            let conditions: Vec<String> = pairs
                .filter(|(from, _)| *from != self.key)
                .map(|(from, to)| format!("c.{from} = p.{to}"))
                .collect();
            if !readable || conditions.is_empty() {
                continue;
            }
            probes.push(self.probe(
                Verb::Join,
                format!(
                    "SELECT 1 FROM {} c JOIN {} p ON {} WHERE c.{} = '{A}' OR p.{} = '{A}'",
                    self.table.name,
                    reference.target,
                    conditions.join(" AND "),
                    self.key,
                    line.key
                ),
            ));
        }
        probes
    }

    fn inserts(&self, registry: &Registry) -> Vec<Probe> {
        let (table, fresh) = (&self.table.name, self.rows.fresh);
        let with = |changes: Vec<(&String, Value)>| {
            let mut row = fresh.clone();
            row.extend(changes.into_iter().map(|(name, value)| (name.clone(), value)));
            insert(table, &row)
        };
        let key = self.key.to_owned();
        let mut probes = vec![
            self.probe(Verb::InsertOwn, insert(table, fresh)),
            self.probe(Verb::InsertForOther, with(vec![(&key, Value::from(A))])),
        ];
        for reference in &self.table.foreign_keys {
            let target = registry.walled.get(&reference.target);
            let Some(parent) = target.and_then(|_| self.rows.seeds.row(A, &reference.target)) else {
                continue;
            };
            let pairs = reference
                .columns
                .iter()
                .zip(&reference.target_columns)
                .filter(|(from, _)| **from != self.key);
            let changes: Vec<(&String, Value)> = pairs.map(|(from, to)| (from, parent[to].clone())).collect();
            let settable = changes
                .iter()
                .all(|(name, _)| self.table.column(name).is_some_and(|column| !column.generated));
            if !changes.is_empty() && settable {
                probes.push(self.probe(Verb::InsertChild, with(changes)));
            }
        }
        for unique in self
            .table
            .unique_keys
            .iter()
            .filter(|unique| !registry.excused.contains(&unique.name))
        {
            let names = unique.columns.iter().filter(|name| **name != self.key);
            let changes: Vec<(&String, Value)> = names
                .map(|name| (name, self.rows.a.get(name).cloned().unwrap_or(Value::Null)))
                .collect();
            let points = |name: &String| {
                self.table
                    .foreign_keys
                    .iter()
                    .any(|reference| reference.columns.contains(name))
            };
            // A key made of references is met by InsertChild; one that B's own row shares tells nothing of A's.
            let told = changes
                .iter()
                .any(|(name, value)| self.rows.b.get(*name) != Some(value));
            // So does one that holds an excused key.
            let excused = self.table.unique_keys.iter().any(|other| {
                registry.excused.contains(&other.name)
                    && other
                        .columns
                        .iter()
                        .all(|name| changes.iter().any(|(changed, _)| *changed == name))
            });
            if changes.iter().any(|(name, _)| points(name)) || !told || excused {
                continue;
            }
            let statement = with(changes);
            probes.push(self.probe(Verb::DoNothing, format!("{statement} ON CONFLICT DO NOTHING")));
            if let Some(column) = self.table.touchable() {
                let arbiter = unique.columns.join(", ");
                let upsert = format!("{statement} ON CONFLICT ({arbiter}) DO UPDATE SET {column} = {table}.{column}");
                probes.push(self.probe(Verb::Upsert, upsert));
            }
        }
        probes
    }

    fn changes(&self) -> Vec<Probe> {
        let (table, key) = (&self.table.name, self.key);
        let column = self.table.touchable().unwrap_or(key);
        vec![
            self.probe(Verb::UpdateById, format!("UPDATE {table} SET {column} = {column} WHERE {}", self.by_id())),
            self.probe(Verb::UpdateMoving, format!("UPDATE {table} SET {key} = '{A}' WHERE {key} = '{B}'")),
            self.probe(
                Verb::UpdateReturning,
                format!("WITH changed AS (UPDATE {table} SET {column} = {column} RETURNING {key} AS k) SELECT 1 FROM changed WHERE k <> '{B}'"),
            ),
            self.probe(
                Verb::UpdateFrom,
                format!(
                    "UPDATE {table} t SET {column} = t.{column} FROM (SELECT {key} AS k FROM {table} WHERE {key} = '{A}') s WHERE t.{key} = s.k"
                ),
            ),
            self.probe(Verb::DeleteById, format!("DELETE FROM {table} WHERE {}", self.by_id())),
            self.probe(
                Verb::DeleteReturning,
                format!("WITH gone AS (DELETE FROM {table} RETURNING {key} AS k) SELECT 1 FROM gone WHERE k <> '{B}'"),
            ),
            self.probe(Verb::DeleteUsing, format!("DELETE FROM {table} t USING {table} s WHERE t.{key} = s.{key} AND s.{key} = '{A}'")),
            self.probe(
                Verb::Merge,
                format!("MERGE INTO {table} t USING (SELECT '{A}'::uuid AS k) s ON t.{key} = s.k WHEN MATCHED THEN DELETE"),
            ),
            self.probe(Verb::Truncate, format!("TRUNCATE {table} CASCADE")),
        ]
    }
}

/// Denied by a grant, or by a policy's check.
const DENIED: &str = "42501";

/// How the transaction is set up in which a probe runs, as far as it matters to one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing says whose it is: loud, whatever is tried.
    Nobody,
    /// B, where nobody said how far it reaches: loud as soon as a row of its own is looked at. Of A's rows it looks at none.
    Unsaid,
    /// B, with sight of its rows of this table.
    Member,
    /// B, narrowed so that it sees none of them and makes none.
    Narrowed,
    /// B, narrowed to rows of its own, of which it has none yet.
    OwnOnly,
}

/// Whether the outcome is what the standing allows. `own` is what came of inserting the same row in its own name: where that collides with
/// another row of its own, so may the rest, and nothing is learnt.
pub fn is_allowed(probe: &Probe, table: &Table, standing: Standing, outcome: &str, own: &str) -> bool {
    let granted = match probe.verb {
        Verb::SelectOwn | Verb::Select | Verb::SelectOthers | Verb::Aggregate | Verb::Exists | Verb::Join => true,
        Verb::ForUpdate => table.columns.iter().any(|column| column.may_update),
        Verb::InsertOwn | Verb::InsertForOther | Verb::InsertChild | Verb::DoNothing => table.may_insert(),
        Verb::Upsert => table.may_insert() && table.touchable().is_some(),
        Verb::UpdateById | Verb::UpdateReturning | Verb::UpdateFrom => table.touchable().is_some(),
        Verb::DeleteById | Verb::DeleteReturning | Verb::DeleteUsing | Verb::Merge => table.may_delete,
        Verb::UpdateMoving => table.column(&probe.key).is_some_and(|column| column.may_update),
        Verb::Truncate => false,
    };
    if !granted {
        return outcome == DENIED;
    }
    let loud = matches!(outcome, "42704" | "22P02");
    match standing {
        Standing::Nobody => loud,
        Standing::Unsaid => loud || unsaid(probe.verb, outcome),
        Standing::Member => member(probe.verb, outcome) || collided(probe.verb, outcome, own),
        Standing::Narrowed => narrowed(probe.verb, outcome),
        Standing::OwnOnly => {
            let verb = probe.verb;
            narrowed(verb, outcome) || is_made(verb, outcome) || collided(verb, outcome, own)
        }
    }
}

/// What is aimed at A's rows alone finds none before anything else is asked.
fn unsaid(verb: Verb, outcome: &str) -> bool {
    match verb {
        Verb::InsertForOther => outcome == DENIED,
        Verb::SelectOwn | Verb::InsertOwn | Verb::InsertChild | Verb::DoNothing | Verb::Upsert | Verb::UpdateMoving => {
            false
        }
        _ => outcome == "0",
    }
}

/// A row that cannot be made beside another of its own.
fn collided(verb: Verb, outcome: &str, own: &str) -> bool {
    own == "23505"
        && match verb {
            Verb::DoNothing => outcome == "0",
            Verb::Upsert | Verb::InsertChild => outcome == "23505",
            _ => false,
        }
}

fn member(verb: Verb, outcome: &str) -> bool {
    match verb {
        Verb::SelectOwn => outcome.parse().is_ok_and(|rows: u32| rows > 0),
        // One row a workspace for each parent: a second one of its own may be refused, and that tells nothing of A.
        Verb::InsertOwn => matches!(outcome, "1" | "23505"),
        Verb::InsertForOther | Verb::UpdateMoving => outcome == DENIED,
        // Not there, or nonsense; never a row that points at A's.
        Verb::InsertChild => matches!(outcome, "23503" | "23514"),
        // It is not told that A has it: its own row is made.
        Verb::DoNothing | Verb::Upsert => outcome == "1",
        // Its own rows may be parents of others.
        Verb::DeleteReturning => matches!(outcome, "0" | "23503"),
        _ => outcome == "0",
    }
}

fn narrowed(verb: Verb, outcome: &str) -> bool {
    match verb {
        Verb::InsertOwn | Verb::InsertForOther | Verb::InsertChild | Verb::DoNothing | Verb::Upsert => {
            outcome == DENIED
        }
        // It sees none of B's rows either, so there is none to move.
        Verb::UpdateMoving => matches!(outcome, "0" | DENIED),
        _ => outcome == "0",
    }
}

/// A row that belongs to the one who is narrowed may be made, or be refused for what it lacks: `NOBODY` is no reseller and no customer.
fn is_made(verb: Verb, outcome: &str) -> bool {
    let own = matches!(verb, Verb::InsertOwn | Verb::DoNothing | Verb::Upsert);
    match outcome {
        "1" => own,
        "23503" | "23514" => own || verb == Verb::InsertChild,
        "23505" => verb == Verb::InsertOwn,
        _ => false,
    }
}
