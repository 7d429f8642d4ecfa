//! Who the roles are (1), what they start with (5, 6), and the server's version (17).

use super::definitions::quoted;
use crate::kernel::{
    catalogue::{
        Report, Severity,
        snapshot::{Parameter, Role, Setting, Snapshot},
    },
    db::{OF_KERNEL, OF_TENANT, Patience},
};

const BOOTSTRAP: &str = "Run `guildhall migrate bootstrap` as an administrator.";

/// What a role may be.
struct May {
    name: &'static str,
    login: bool,
    bypass: bool,
    replicate: bool,
    /// What it may be a member of.
    member_of: &'static [&'static str],
    /// What every connection of its starts with.
    starts_with: &'static [&'static str],
    /// And for how long it waits, of a door.
    patience: Option<Patience>,
    /// Whether a deployment has to have it.
    needed: bool,
}

const NOBODY: May = May {
    name: "",
    login: false,
    bypass: false,
    replicate: false,
    member_of: &[],
    starts_with: &[],
    patience: None,
    needed: true,
};

const OF_DOORS: &[&str] = &[
    "search_path=guildhall, public",
    "idle_in_transaction_session_timeout=10s",
    "lc_messages=C",
];

const ROLES: [May; 8] = [
    // The database is its own, and that makes it a member of PostgreSQL's role for owners.
    May {
        name: "guildhall_owner",
        member_of: &["pg_database_owner"],
        ..NOBODY
    },
    May {
        name: "guildhall_keeper",
        ..NOBODY
    },
    May {
        name: "guildhall_migrator",
        login: true,
        bypass: true,
        member_of: &["guildhall_owner", "guildhall_keeper", "pg_database_owner"],
        starts_with: &["row_security=off", "lock_timeout=2s"],
        ..NOBODY
    },
    May {
        name: "app_tenant",
        login: true,
        starts_with: OF_DOORS,
        patience: Some(OF_TENANT),
        ..NOBODY
    },
    May {
        name: "app_kernel",
        login: true,
        starts_with: OF_DOORS,
        patience: Some(OF_KERNEL),
        ..NOBODY
    },
    May {
        name: "guildhall_auditor",
        login: true,
        bypass: true,
        member_of: &["pg_read_all_data"],
        starts_with: &["default_transaction_read_only=on"],
        ..NOBODY
    },
    May {
        name: "guildhall_backup",
        login: true,
        bypass: true,
        replicate: true,
        member_of: &["pg_read_all_data"],
        starts_with: &["row_security=off"],
        needed: false,
        ..NOBODY
    },
    May {
        name: "guildhall_monitor",
        login: true,
        member_of: &[
            "pg_monitor",
            "pg_read_all_settings",
            "pg_read_all_stats",
            "pg_stat_scan_tables",
        ],
        needed: false,
        ..NOBODY
    },
];

pub(super) fn judge(snapshot: &Snapshot, report: &mut Report) {
    for may in &ROLES {
        match snapshot.roles.iter().find(|role| role.name == may.name) {
            Some(role) => {
                attributes(role, may, report);
                beginnings(snapshot, may, report);
            }
            None if may.needed => report.add(1, may.name, "the role does not exist", BOOTSTRAP),
            None => {}
        }
    }
    if snapshot.database.owner != "guildhall_owner" {
        let what = format!("it belongs to {}", snapshot.database.owner);
        let fix = format!("ALTER DATABASE \"{}\" OWNER TO guildhall_owner", snapshot.database.name);
        report.add(1, &snapshot.database.name, what, fix);
    }
    settings(snapshot, report);
    database_rights(snapshot, report);
    schema_rights(snapshot, report);
    version(snapshot.version, report);
}

fn attributes(role: &Role, may: &May, report: &mut Report) {
    let mut refuse = |wrong: bool, what: String, attribute: &str| {
        if wrong {
            report.add(1, &role.name, what, format!("ALTER ROLE {} {attribute}", role.name));
        }
    };
    refuse(
        role.superuser,
        "it is a superuser, whom nothing holds".into(),
        "NOSUPERUSER",
    );
    refuse(
        role.bypasses && !may.bypass,
        "it bypasses row-level security".into(),
        "NOBYPASSRLS",
    );
    refuse(role.login && !may.login, "it can log in".into(), "NOLOGIN");
    refuse(
        role.makes_roles,
        "it can make roles, and so give itself any".into(),
        "NOCREATEROLE",
    );
    refuse(role.makes_databases, "it can make databases".into(), "NOCREATEDB");
    refuse(
        role.replicates && !may.replicate,
        "it can replicate, and so read every row".into(),
        "NOREPLICATION",
    );
    for group in role
        .member_of
        .iter()
        .filter(|group| !may.member_of.contains(&group.as_str()))
    {
        let what = format!("it is a member of {group}, and so can become it");
        report.add(1, &role.name, what, format!("REVOKE {group} FROM {}", role.name));
    }
    if role.name.starts_with("app_") {
        for object in &role.owns {
            let what = format!("it owns {object}, and so can take its policies off");
            report.add(1, &role.name, what, "Give the object to guildhall_owner.");
        }
    }
}

/// What our connections start with must not be a context, and must leave foreign keys and triggers on; nor may our roles change that.
fn settings(snapshot: &Snapshot, report: &mut Report) {
    let is_ours = |role: &str| ROLES.iter().any(|may| may.name == role);
    for Setting { role, here, setting } in &snapshot.settings {
        // PostgreSQL keeps both as they were typed, and reads them in any case.
        let what = match setting.to_ascii_lowercase().split_once('=') {
            Some((name, _)) if name.starts_with("app.") => "a forgotten context would be silent",
            Some(("session_replication_role", "replica")) => "no foreign key and no trigger is looked at",
            _ => continue,
        };
        if role.as_deref().is_none_or(is_ours) {
            let who = role.as_deref().unwrap_or("everybody");
            let what = format!("every connection starts with {setting}: {what}");
            let whose = match (role, here) {
                (Some(role), false) => format!("ROLE {role}"),
                (Some(role), true) => format!("ROLE {role} IN DATABASE {}", quoted(&snapshot.database.name)),
                (None, true) => format!("DATABASE {}", quoted(&snapshot.database.name)),
                (None, false) => "ROLE ALL".to_owned(),
            };
            let name = setting.split('=').next().unwrap_or_default();
            report.add(5, who, what, format!("ALTER {whose} RESET {name}"));
        }
    }
    for Parameter { role, name, right } in &snapshot.parameters {
        if role == "PUBLIC" || is_ours(role) {
            let what = match right.as_str() {
                "SET" => format!("it may set {name}, which may be a superuser's to set"),
                _ => format!("it may change {name} for the whole server"),
            };
            report.add(5, role, what, format!("REVOKE ALL ON PARAMETER {name} FROM {role}"));
        }
    }
}

/// What every connection of a role starts with.
fn beginnings(snapshot: &Snapshot, may: &May, report: &mut Report) {
    let own = |setting: &&Setting| setting.role.as_deref() == Some(may.name);
    let patience = may.patience.iter().flatten();
    let patience = patience.map(|(setting, value)| format!("{setting}={value}"));
    for wanted in may
        .starts_with
        .iter()
        .map(|wanted| (*wanted).to_owned())
        .chain(patience)
    {
        if !snapshot.settings.iter().filter(own).any(|own| own.setting == wanted) {
            report.add(5, may.name, format!("it does not start with {wanted}"), BOOTSTRAP);
        }
    }
}

fn database_rights(snapshot: &Snapshot, report: &mut Report) {
    let database = &snapshot.database;
    for right in &database.public_rights {
        let fix = format!("REVOKE ALL ON DATABASE \"{}\" FROM PUBLIC", database.name);
        report.add(6, &database.name, format!("PUBLIC has {right} on the database"), fix);
    }
    for right in database.rights.iter().filter(|right| right.right != "CONNECT") {
        let fix = format!(
            "REVOKE {} ON DATABASE \"{}\" FROM {}",
            right.right, database.name, right.role
        );
        let what = format!(
            "{} has {}: what it makes there outlives a transaction",
            right.role, right.right
        );
        report.add(6, &database.name, what, fix);
    }
}

fn schema_rights(snapshot: &Snapshot, report: &mut Report) {
    for schema in &snapshot.schemas {
        if !matches!(schema.name.as_str(), "guildhall" | "public") {
            let fix = format!("DROP SCHEMA \"{}\", or move it to a database of its own", schema.name);
            report.push(
                Severity::Warn,
                1,
                &schema.name,
                "it is a schema that Guildhall does not know",
                fix,
            );
        }
        if schema.name == "guildhall" && schema.owner != "guildhall_owner" {
            report.add(
                1,
                "guildhall",
                format!("the schema belongs to {}", schema.owner),
                BOOTSTRAP,
            );
        }
        for right in schema
            .rights
            .iter()
            .filter(|right| right.right != "USAGE" || right.role == "PUBLIC")
        {
            let fix = format!("REVOKE {} ON SCHEMA {} FROM {}", right.right, schema.name, right.role);
            report.add(
                1,
                &schema.name,
                format!("{} has {} on the schema", right.role, right.right),
                fix,
            );
        }
    }
}

/// Before these, planner statistics showed rows that policies hide (CVE-2025-8713).
fn version(version: i32, report: &mut Report) {
    let (major, minor) = (version / 10_000, version % 10_000);
    let fixed = match major {
        ..=14 => None,
        15 => Some(14),
        16 => Some(10),
        17 => Some(6),
        _ => Some(0),
    };
    match fixed {
        None => report.add(
            17,
            "PostgreSQL",
            format!("it is version {major}"),
            "Guildhall needs PostgreSQL 15 or newer.",
        ),
        Some(fixed) if minor < fixed => report.push(
            Severity::RefuseInProduction,
            17,
            "PostgreSQL",
            format!("version {major}.{minor} shows rows through planner statistics (CVE-2025-8713)"),
            format!("Update it to {major}.{fixed} or newer."),
        ),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minor_without_the_fix_refuses_production_and_an_old_major_refuses_all() {
        let judged = |number| {
            let mut report = Report::default();
            version(number, &mut report);
            (report.allows_serving(false), report.allows_serving(true))
        };
        for (number, answer) in [
            (140_020, (false, false)),
            (150_013, (true, false)),
            (150_014, (true, true)),
            (160_009, (true, false)),
            (170_005, (true, false)),
            (170_006, (true, true)),
            (180_000, (true, true)),
        ] {
            assert_eq!(judged(number), answer, "{number}");
        }
    }
}
