//! Whether one workspace can reach another's rows. L1: every table, every verb, every state of a connection, in SQL, generated from the
//! catalogue; a table that arrives is covered the day it has its line in the registry.

mod contexts;
mod environment;
mod mutants;
mod probes;
pub mod routes;
mod seed;
mod sequences;
mod shape;

use diesel::PgConnection;

use crate::database::{Database, run, text};
use contexts::Context;
use probes::{Probe, Rows, Standing, Verb, is_allowed};
use seed::{A, B, Row, Seeds};
use shape::{Registry, Table};

/// Two seeded workspaces in a database of their own.
struct Lab {
    database: Database,
    registry: Registry,
    seeds: Seeds,
}

/// Something that came out otherwise than it may.
#[derive(Debug)]
struct Surprise {
    what: String,
}

impl Lab {
    fn new() -> Lab {
        let database = Database::migrated();
        let registry = shape::registry();
        let mut admin = database.admin();
        run(&mut admin, include_str!("prober.sql"));
        let tables = shape::read(&mut admin);
        let seeds = Seeds::plant(&mut admin, &tables, &registry);
        Lab {
            database,
            registry,
            seeds,
        }
    }

    /// Everything that B tries, as the tables are now. `only`: these tables alone.
    fn probes(&self, admin: &mut PgConnection, only: &[&str]) -> Vec<(Table, Vec<Probe>)> {
        let tables = shape::read(admin);
        let wanted = |table: &&Table| {
            self.registry.walled.contains_key(&table.name) && (only.is_empty() || only.contains(&table.name.as_str()))
        };
        let mut all = Vec::new();
        for table in tables.iter().filter(wanted) {
            run(admin, &format!("SELECT set_config('app.workspace', '{B}', false)"));
            let fresh = self.seeds.fresh(admin, table, &self.registry, B);
            let rows = Rows {
                a: self.row(A, &table.name),
                b: self.row(B, &table.name),
                fresh: &fresh,
                seeds: &self.seeds,
            };
            all.push((table.clone(), probes::of_table(table, &tables, &self.registry, rows)));
        }
        all
    }

    fn row(&self, side: &'static str, table: &str) -> &Row {
        self.seeds
            .row(side, table)
            .unwrap_or_else(|| panic!("{table} has no row of {side}"))
    }

    /// What came out otherwise than the context allows.
    fn judge(&self, context: Context, probes: &[(Table, Vec<Probe>)], outcomes: &[String]) -> Vec<Surprise> {
        let mut outcomes = outcomes.iter();
        let mut surprises = Vec::new();
        for (table, probes) in probes {
            let standing = context.standing(&self.registry.walled[&table.name]);
            let of_table: Vec<(&Probe, &String)> = probes.iter().zip(outcomes.by_ref()).collect();
            let own = of_table.iter().find(|(probe, _)| probe.verb == Verb::InsertOwn);
            let own = own.map_or("", |(_, outcome)| outcome.as_str());
            for (probe, outcome) in &of_table {
                // The other table of a join may be one that is loud about what was not said.
                let half_said = matches!(context, Context::BResellerUnset | Context::BCustomerUnset);
                if probe.verb == Verb::Join && half_said && outcome.as_str() == "42704" {
                    continue;
                }
                if !is_allowed(probe, table, standing, outcome, own) {
                    surprises.push(surprise(context, standing, probe, outcome));
                }
            }
        }
        surprises
    }
}

fn surprise(context: Context, standing: Standing, probe: &Probe, outcome: &str) -> Surprise {
    Surprise {
        what: format!(
            "{} {:?} in context {context:?} ({standing:?}) came to {outcome}: {}",
            probe.table, probe.verb, probe.statement
        ),
    }
}

/// Runs statements through the prober, each taken back at once.
fn outcomes(conn: &mut PgConnection, statements: &[&str]) -> Vec<String> {
    let quoted: Vec<String> = statements
        .iter()
        .map(|statement| format!("'{}'", statement.replace('\'', "''")))
        .collect();
    let answer = text(
        conn,
        &format!("to_json(probe.run(ARRAY[{}]::text[]))", quoted.join(", ")),
    );
    serde_json::from_str(&answer.expect("an answer")).expect("an array of texts")
}

fn statements(probes: &[(Table, Vec<Probe>)]) -> Vec<&str> {
    probes
        .iter()
        .flat_map(|(_, probes)| probes)
        .map(|probe| probe.statement.as_str())
        .collect()
}

fn assert_none(surprises: &[Surprise]) {
    let shown: Vec<&str> = surprises
        .iter()
        .take(12)
        .map(|surprise| surprise.what.as_str())
        .collect();
    assert!(
        surprises.is_empty(),
        "{} surprises:\n{}",
        surprises.len(),
        shown.join("\n")
    );
}

/// A digest of every row of a workspace, in every table: what may not change by another's doing.
fn state_of(admin: &mut PgConnection, lab: &Lab, side: &str) -> String {
    let tables = lab.registry.walled.iter();
    let digests: Vec<String> = tables
        .map(|(name, line)| {
            format!(
                "(SELECT '{name} ' || coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '-') FROM {name} t WHERE {} = '{side}')",
                line.key
            )
        })
        .collect();
    text(admin, &format!("concat_ws(E'\\n', {})", digests.join(", "))).expect("a digest")
}

#[test]
fn no_statement_reaches_another_workspaces_rows_in_any_state_of_the_connection() {
    let lab = Lab::new();
    let mut admin = lab.database.admin();
    let before = state_of(&mut admin, &lab, A);
    let probes = lab.probes(&mut admin, &[]);
    let statements = statements(&probes);
    let mut surprises = Vec::new();
    for context in Context::ALL {
        // A new connection each: none of them inherits another's state.
        let mut conn = lab.database.tenant();
        run(
            &mut conn,
            &format!("{}; SET LOCAL statement_timeout = 0", context.opening()),
        );
        let outcomes = outcomes(&mut conn, &statements);
        run(&mut conn, "ROLLBACK");
        assert_eq!(outcomes.len(), statements.len());
        surprises.extend(lab.judge(context, &probes, &outcomes));
    }
    assert_none(&surprises);
    assert!(
        statements.len() * Context::ALL.len() > 5_000,
        "{} probes are few",
        statements.len()
    );
    assert_eq!(state_of(&mut admin, &lab, A), before, "A's rows are as they were");
}

/// The other side of narrowing: what is its own, a reseller or a customer does see, and another does not.
#[test]
fn who_is_narrowed_sees_exactly_its_own_rows() {
    const MINE: &str = "0d000000-0000-7000-8000-00000000000d";
    let lab = Lab::new();
    let mut admin = lab.database.admin();
    for (name, line) in &lab.registry.walled {
        for (who, narrowing) in [("reseller", &line.reseller), ("customer", &line.customer)] {
            if narrowing != "own" {
                continue;
            }
            // Some tables only let a certain role be bound.
            let also = match name.as_str() {
                "memberships" | "invitations" => ", role = 'reseller'",
                _ => "",
            };
            run(
                &mut admin,
                &format!(
                    "BEGIN; SET LOCAL session_replication_role = replica;
                     UPDATE {name} SET {who}_id = '{MINE}'{also} WHERE {key} = '{B}';
                     SET LOCAL SESSION AUTHORIZATION app_tenant",
                    key = line.key
                ),
            );
            let seen = [MINE, contexts::NOBODY].map(|id| {
                run(&mut admin, &contexts::narrowed_to(who, id));
                outcomes(&mut admin, &[&format!("SELECT 1 FROM {name}")]).remove(0)
            });
            run(&mut admin, "ROLLBACK");
            assert!(
                seen[0].parse::<u32>().is_ok_and(|rows| rows > 0),
                "{name}: its own {who} saw {}",
                seen[0]
            );
            assert_eq!(seen[1], "0", "{name}: another {who} saw its rows");
        }
    }
}
