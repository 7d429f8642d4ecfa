//! The counters that machines take their places from: exact under concurrency, for they are changed by one conditional statement each.

use diesel::{
    BoolExpressionMethods, ExpressionMethods, IntoSql, NullableExpressionMethods, PgConnection, QueryDsl, QueryResult,
    RunQueryDsl, dsl::not, sql_types,
};
use uuid::Uuid;

use crate::{
    features::{
        machines::model::{Machine, NewMachine},
        schema::licensing::license_counters,
    },
    kernel::id::LicenseId,
};

/// What a machine takes of a licence's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::features::machines) struct Share {
    pub(in crate::features::machines) machines: i32,
    pub(in crate::features::machines) cores: i64,
    pub(in crate::features::machines) memory_mb: i64,
    pub(in crate::features::machines) disk_mb: i64,
}

impl Share {
    pub(in crate::features::machines) fn of(cores: Option<i32>, memory_mb: Option<i32>, disk_mb: Option<i32>) -> Share {
        Share {
            machines: 1,
            cores: i64::from(cores.unwrap_or(0)),
            memory_mb: i64::from(memory_mb.unwrap_or(0)),
            disk_mb: i64::from(disk_mb.unwrap_or(0)),
        }
    }

    pub(in crate::features::machines) fn and(self, other: Share) -> Share {
        Share {
            machines: self.machines + other.machines,
            cores: self.cores + other.cores,
            memory_mb: self.memory_mb + other.memory_mb,
            disk_mb: self.disk_mb + other.disk_mb,
        }
    }

    pub(in crate::features::machines) fn less(self, other: Share) -> Share {
        Share {
            machines: self.machines - other.machines,
            cores: self.cores - other.cores,
            memory_mb: self.memory_mb - other.memory_mb,
            disk_mb: self.disk_mb - other.disk_mb,
        }
    }

    /// What a machine takes that takes this now, once what is said of it holds.
    pub(in crate::features::machines) fn told(self, new: &NewMachine) -> Share {
        let told = |size: Option<i32>, known| size.map_or(known, i64::from);
        Share {
            machines: self.machines,
            cores: told(new.cores, self.cores),
            memory_mb: told(new.memory_mb, self.memory_mb),
            disk_mb: told(new.disk_mb, self.disk_mb),
        }
    }
}

impl From<&Machine> for Share {
    fn from(machine: &Machine) -> Share {
        Share::of(machine.cores, machine.memory_mb, machine.disk_mb)
    }
}

/// Takes a share if all of it is free: one conditional statement on one row, which stays locked until the commit. False: it is not.
pub(in crate::features::machines) fn take(
    conn: &mut PgConnection,
    license: LicenseId,
    share: Share,
) -> QueryResult<bool> {
    use license_counters::dsl as c;
    let own = c::license_counters
        .filter(c::license_id.eq(license.uuid()))
        .filter(c::holder.eq(license.uuid()));
    let fits = own
        .filter(
            c::machines_max
                .is_null()
                .or((c::machines + share.machines).nullable().le(c::machines_max)),
        )
        .filter(
            c::cores_max
                .is_null()
                .or((c::cores + share.cores).nullable().le(c::cores_max)),
        )
        .filter(
            c::memory_mb_max
                .is_null()
                .or((c::memory_mb + share.memory_mb).nullable().le(c::memory_mb_max)),
        )
        .filter(
            c::disk_mb_max
                .is_null()
                .or((c::disk_mb + share.disk_mb).nullable().le(c::disk_mb_max)),
        );
    let taken = diesel::update(fits)
        .set((
            c::machines.eq(c::machines + share.machines),
            c::cores.eq(c::cores + share.cores),
            c::memory_mb.eq(c::memory_mb + share.memory_mb),
            c::disk_mb.eq(c::disk_mb + share.disk_mb),
        ))
        .execute(conn)?;
    Ok(taken == 1)
}

diesel::define_sql_function! {
    /// Nothing to compare with is not over it.
    #[sql_name = "coalesce"]
    fn or_false(known: sql_types::Nullable<sql_types::Bool>, otherwise: sql_types::Bool) -> sql_types::Bool;
}

/// Gives a share back. Answers how many counters changed: one, or the books are wrong.
pub(in crate::features::machines) fn give(
    conn: &mut PgConnection,
    license: LicenseId,
    share: Share,
) -> QueryResult<usize> {
    let nothing = Share::default();
    resize(conn, license, nothing.less(share))
}

/// Takes what grows if it is free, and gives back what shrinks: all or nothing. What was over the limit is so no more once it fits. Answers how
/// many counters changed: one, or none, because too little is free.
pub(in crate::features::machines) fn resize(
    conn: &mut PgConnection,
    license: LicenseId,
    by: Share,
) -> QueryResult<usize> {
    use license_counters::dsl as c;
    let own = c::license_counters
        .filter(c::license_id.eq(license.uuid()))
        .filter(c::holder.eq(license.uuid()));
    let over_machines = or_false((c::machines + by.machines).nullable().gt(c::machines_max), false);
    let over_cores = or_false((c::cores + by.cores).nullable().gt(c::cores_max), false);
    let over_memory = or_false((c::memory_mb + by.memory_mb).nullable().gt(c::memory_mb_max), false);
    let over_disk = or_false((c::disk_mb + by.disk_mb).nullable().gt(c::disk_mb_max), false);
    let grows = |by: i64| (by > 0).into_sql::<sql_types::Bool>();
    let fits = own
        .filter(not(grows(by.machines.into()).and(over_machines)))
        .filter(not(grows(by.cores).and(over_cores)))
        .filter(not(grows(by.memory_mb).and(over_memory)))
        .filter(not(grows(by.disk_mb).and(over_disk)));
    let still_over = over_machines.or(over_cores).or(over_memory).or(over_disk);
    diesel::update(fits)
        .set((
            c::machines.eq(c::machines + by.machines),
            c::cores.eq(c::cores + by.cores),
            c::memory_mb.eq(c::memory_mb + by.memory_mb),
            c::disk_mb.eq(c::disk_mb + by.disk_mb),
            c::over_limit.eq(c::over_limit.and(still_over)),
        ))
        .execute(conn)
}

/// Locks a licence's counter until the commit. Who needs several locks takes them in this order: the licence, its counter, its machines.
pub(in crate::features::machines) fn lock_places(conn: &mut PgConnection, license: LicenseId) -> QueryResult<()> {
    let own = license_counters::table.find((license.uuid(), license.uuid()));
    own.select(license_counters::holder)
        .for_no_key_update()
        .first::<Uuid>(conn)
        .map(drop)
}

/// What a licence's machines take of its limits.
pub(in crate::features::machines) fn taken(conn: &mut PgConnection, license: LicenseId) -> QueryResult<Share> {
    use license_counters::dsl as c;
    let own = c::license_counters.find((license.uuid(), license.uuid()));
    let (machines, cores, memory_mb, disk_mb) = own
        .select((c::machines, c::cores, c::memory_mb, c::disk_mb))
        .first(conn)?;
    Ok(Share {
        machines,
        cores,
        memory_mb,
        disk_mb,
    })
}
