//! How the schema of the redb file grew: numbered steps, one transaction each, never edited once shipped.

use redb::{Database, ReadableDatabase, TableError, WriteTransaction};

use super::tables::{CHANGES, ENTRIES, LEASES, LOG_ENTRIES, LOG_HEADS, META, meta};

/// One step. It finds the schema of the version before it and leaves its own.
pub(super) struct Migration {
    pub(super) version: u64,
    pub(super) run: fn(&WriteTransaction) -> Result<(), redb::Error>,
}

/// Every step, the first being version 1.
pub(super) const MIGRATIONS: &[Migration] = &[Migration { version: 1, run: create_tables }];

/// A migration failed; the file is as the one before it left it.
#[derive(Debug)]
pub(super) struct MigrationError {
    pub(super) version: u64,
    pub(super) source: redb::Error,
}

/// The version of a database: `None` when it is not ours, 0 when it holds nothing at all.
pub(super) fn schema_version(database: &Database) -> Result<Option<u64>, redb::Error> {
    let read = database.begin_read()?;
    match read.open_table(META) {
        Ok(table) => Ok(table.get(meta::SCHEMA)?.map(|version| version.value())),
        Err(TableError::TableDoesNotExist(_)) => {
            let blank = read.list_tables()?.next().is_none() && read.list_multimap_tables()?.next().is_none();
            Ok(blank.then_some(0))
        }
        Err(TableError::TableTypeMismatch { .. } | TableError::TableIsMultimap(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The newest version among `migrations`.
pub(super) fn newest(migrations: &[Migration]) -> u64 {
    migrations.last().map_or(0, |last| last.version)
}

/// Runs those of `migrations` that come after version `from`.
pub(super) fn migrate(database: &Database, from: u64, migrations: &[Migration]) -> Result<(), MigrationError> {
    for migration in migrations.iter().filter(|migration| migration.version > from) {
        let version = migration.version;
        step(database, migration).map_err(|source| MigrationError { version, source })?;
        tracing::info!(schema = version, "store migrated");
    }
    Ok(())
}

fn step(database: &Database, migration: &Migration) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    (migration.run)(&write)?;
    write.open_table(META)?.insert(meta::SCHEMA, migration.version)?;
    write.commit()?;
    Ok(())
}

fn create_tables(write: &WriteTransaction) -> Result<(), redb::Error> {
    let mut numbers = write.open_table(META)?;
    for number in [meta::REVISION, meta::FLOOR, meta::CHANGE_BYTES, meta::WRITES] {
        numbers.insert(number, 0)?;
    }
    write.open_table(ENTRIES)?;
    write.open_table(CHANGES)?;
    write.open_table(LEASES)?;
    write.open_table(LOG_HEADS)?;
    write.open_table(LOG_ENTRIES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use redb::{TableDefinition, TableHandle};

    use super::*;

    const EXTRA: TableDefinition<'static, u64, u64> = TableDefinition::new("extra");

    fn blank() -> Database {
        Database::builder().create_with_backend(InMemoryBackend::new()).unwrap()
    }

    fn add_extra(write: &WriteTransaction) -> Result<(), redb::Error> {
        write.open_table(EXTRA)?.insert(1, 2)?;
        Ok(())
    }

    fn fail_half_way(write: &WriteTransaction) -> Result<(), redb::Error> {
        write.open_table(EXTRA)?.insert(1, 3)?;
        Err(redb::Error::Corrupted("on purpose".to_owned()))
    }

    #[test]
    fn versions_are_numbered_from_one_without_gaps() {
        for (migration, expected) in MIGRATIONS.iter().zip(1..) {
            assert_eq!(migration.version, expected);
        }
    }

    #[test]
    fn an_older_schema_gets_only_the_steps_it_lacks() {
        let database = blank();
        assert_eq!(schema_version(&database).unwrap(), Some(0));
        migrate(&database, 0, MIGRATIONS).unwrap();
        let shipped = newest(MIGRATIONS);
        assert_eq!(schema_version(&database).unwrap(), Some(shipped));

        let next = shipped + 1;
        let refuse_to_run_again = |_: &WriteTransaction| -> Result<(), redb::Error> {
            Err(redb::Error::Corrupted("ran a second time".to_owned()))
        };
        let longer = [Migration { version: 1, run: refuse_to_run_again }, Migration { version: next, run: add_extra }];
        migrate(&database, shipped, &longer).unwrap();
        assert_eq!(schema_version(&database).unwrap(), Some(next));
        let read = database.begin_read().unwrap();
        assert_eq!(read.open_table(EXTRA).unwrap().get(1).unwrap().unwrap().value(), 2);
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before_it() {
        let database = blank();
        let steps = [Migration { version: 1, run: create_tables }, Migration { version: 2, run: fail_half_way }];
        let error = migrate(&database, 0, &steps).unwrap_err();
        assert_eq!(error.version, 2);
        assert_eq!(schema_version(&database).unwrap(), Some(1));
        let read = database.begin_read().unwrap();
        assert!(read.list_tables().unwrap().all(|table| table.name() != EXTRA.name()));
    }

    #[test]
    fn a_database_with_tables_of_others_is_not_ours() {
        let database = blank();
        let write = database.begin_write().unwrap();
        write.open_table(EXTRA).unwrap();
        write.commit().unwrap();
        assert_eq!(schema_version(&database).unwrap(), None);
    }
}
