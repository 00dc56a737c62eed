//! The steps that bring a database up to date, in their order.
//!
//! Listed here and not gathered by `sqlx::migrate!`, whose macro needs SQLite and PostgreSQL built once more, for the
//! compiler: a minute of every first build.

use std::borrow::Cow;

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// A step: the name of its file, which begins with its number, and what it runs. Steps are only ever added.
type Step = (&'static str, &'static str);

pub(crate) const SQLITE: &[Step] = &[
    (
        "0001_sessions",
        include_str!("../migrations/sqlite/0001_sessions.sql"),
    ),
    (
        "0002_whole_control_plane",
        include_str!("../migrations/sqlite/0002_whole_control_plane.sql"),
    ),
    (
        "0003_shared_tickets",
        include_str!("../migrations/sqlite/0003_shared_tickets.sql"),
    ),
];

pub(crate) const POSTGRES: &[Step] = &[
    (
        "0001_control_plane",
        include_str!("../migrations/postgres/0001_control_plane.sql"),
    ),
    (
        "0002_shared_tickets",
        include_str!("../migrations/postgres/0002_shared_tickets.sql"),
    ),
];

/// What runs the steps that a database has not seen.
pub(crate) fn migrator(steps: &[Step]) -> Migrator {
    let migrations = steps.iter().zip(1..).map(|((name, sql), version)| {
        Migration::new(
            version,
            Cow::Borrowed(name),
            MigrationType::Simple,
            SqlStr::from_static(sql),
            false,
        )
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // A newer server may have been here; what it added does not bother this one.
    migrator.set_ignore_missing(true);
    migrator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_step_and_in_its_place() {
        for (folder, steps) in [("sqlite", SQLITE), ("postgres", POSTGRES)] {
            let path = format!("{}/migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
            let mut files = fs_err::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect::<Vec<_>>();
            files.sort();
            let names = steps.iter().zip(1..).map(|((name, _), version)| {
                assert!(
                    name.starts_with(&format!("{version:04}_")),
                    "{name} is step {version}"
                );
                format!("{name}.sql")
            });
            assert_eq!(files, names.collect::<Vec<_>>());
        }
    }
}
