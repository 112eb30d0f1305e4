//! What the load ledger promises.

use std::sync::Arc;

use moulin_core::{JobId, PlannedFile, Receipt};
use moulin_testkit::FakeClock;

use super::build::{LEASE, fault, job, key, receipt};
use crate::{Claimed, Error, FileLoad, JobStore, Lease, LoadFilter, LoadState, NewJob, Outcome, Wanted, Which};

on_every_store!(
    a_file_that_one_job_has_loaded_is_left_out_by_the_next,
    another_content_size_or_table_is_another_load,
    a_file_without_a_tag_is_never_known_again,
    files_of_a_job_that_is_not_over_are_waited_for_and_none_is_claimed,
    of_two_attempts_the_one_that_committed_says_which_files_are_loaded,
    a_later_generation_loads_the_files_of_the_earlier_again_and_no_other_way_round,
    a_redo_replaces_the_loads_of_the_generations_that_it_names_and_no_others,
    a_load_that_is_told_after_it_was_replaced_is_none,
    a_file_that_was_left_out_is_free,
    a_table_made_after_the_claim_is_the_one_that_counts,
    of_jobs_that_claim_at_the_same_moment_one_gets_each_file,
    many_files_are_listed_page_by_page,
);

async fn a_file_that_one_job_has_loaded_is_left_out_by_the_next(store: Arc<dyn JobStore>) {
    let mut world = World::new(store);
    let first = world.begin("one", 0).await;
    assert_eq!(world.claim(&first, &wanted("one", 0, &["a", "b"])).await, Ok(vec![]));
    world.succeed(&first).await;
    let second = world.begin("two", 0).await;
    assert_eq!(world.claim(&second, &wanted("two", 0, &["a", "b", "c"])).await, Ok(vec!["a".into(), "b".into()]));
    let loads = world.loads().await;
    assert_eq!(loads.len(), 3);
    assert_eq!((loads[0].state, loads[2].state), (LoadState::Loaded, LoadState::Claimed));
    assert_eq!(loads[0].snapshot_id, receipt(&first).snapshot_id);
    assert_eq!(loads[0].skipped.as_ref().map(|(job, _)| job), Some(&second.job_id));
}

async fn another_content_size_or_table_is_another_load(store: Arc<dyn JobStore>) {
    let mut world = World::new(store);
    let first = world.begin("one", 0).await;
    world.claim(&first, &wanted("one", 0, &["a"])).await.unwrap();
    world.succeed(&first).await;
    let second = world.begin("two", 0).await;
    let same = wanted("two", 0, &["a"]);
    let mut others = vec![same.clone(); 5];
    others[0].files[0].etag = Some("other".into());
    others[1].files[0].size_bytes += 1;
    others[2].table = "a.c".into();
    others[3].table_uuid = Some("a table of the same name".into());
    others[4].table_uuid = None;
    for other in &others {
        assert_eq!(world.store.loads_in_the_way(other).await.unwrap(), vec![]);
    }
    assert_eq!(world.store.loads_in_the_way(&same).await.unwrap().len(), 1);
    assert_eq!(world.claim(&second, &Wanted { reload: true, ..same }).await, Ok(vec![]));
}

async fn a_file_without_a_tag_is_never_known_again(store: Arc<dyn JobStore>) {
    let mut world = World::new(store);
    let mut untagged = wanted("one", 0, &["a"]);
    untagged.files[0].etag = None;
    let first = world.begin("one", 0).await;
    world.claim(&first, &untagged).await.unwrap();
    world.succeed(&first).await;
    let second = world.begin("two", 0).await;
    assert_eq!(world.claim(&second, &Wanted { key: key("two"), ..untagged }).await, Ok(vec![]));
}

async fn files_of_a_job_that_is_not_over_are_waited_for_and_none_is_claimed(store: Arc<dyn JobStore>) {
    let mut world = World::new(store);
    let first = world.begin("one", 0).await;
    world.claim(&first, &wanted("one", 0, &["b"])).await.unwrap();
    let second = world.begin("two", 0).await;
    assert_eq!(world.claim(&second, &wanted("two", 0, &["a", "b"])).await, Err(first.job_id.clone()));
    assert_eq!(world.loads().await.len(), 1);
    // Its attempt is lost and the next one begins: still nobody knows what came of it.
    world.clock.advance(LEASE * 2);
    let again =
        world.store.claim("w2", LEASE, Which::Job(&first.job_id), world.clock.now()).await.unwrap().unwrap().lease;
    let second =
        world.store.claim("w", LEASE, Which::Job(&second.job_id), world.clock.now()).await.unwrap().unwrap().lease;
    assert_eq!(world.claim(&second, &wanted("two", 0, &["a", "b"])).await, Err(first.job_id.clone()));
    // It fails: its files are free.
    world.finish(&again, Outcome::Failed(fault("x"))).await;
    assert_eq!(world.claim(&second, &wanted("two", 0, &["a", "b"])).await, Ok(vec![]));
}

async fn of_two_attempts_the_one_that_committed_says_which_files_are_loaded(store: Arc<dyn JobStore>) {
    let mut world = World::new(store);
    let first = world.begin("one", 0).await;
    world.claim(&first, &wanted("one", 0, &["a", "b"])).await.unwrap();
    world.clock.advance(LEASE * 2);
    let second = world.store.claim("w2", LEASE, Which::Any, world.clock.now()).await.unwrap().unwrap().lease;
    // A new file has come meanwhile.
    assert_eq!(world.claim(&second, &wanted("one", 0, &["a", "b", "c"])).await, Ok(vec![]));
    assert!(matches!(
        world.store.claim_files(&first, &wanted("one", 0, &["a"]), world.clock.now()).await,
        Err(Error::LeaseLost { .. })
    ));
    let outcome = Outcome::Succeeded(receipt(&first));
    world.store.finish(&second, outcome, world.clock.now()).await.unwrap();
    let loaded: Vec<_> =
        world.loads().await.into_iter().map(|load| (load.file.uri, load.attempt, load.state)).collect();
    assert_eq!(loaded, [("a".into(), 1, LoadState::Loaded), ("b".into(), 1, LoadState::Loaded)]);
}

async fn a_later_generation_loads_the_files_of_the_earlier_again_and_no_other_way_round(store: Arc<dyn JobStore>) {
    let mut world = World::new(store);
    let first = world.begin("one", 0).await;
    world.claim(&first, &wanted("one", 0, &["a"])).await.unwrap();
    world.succeed(&first).await;
    let redo = world.begin("one", 1).await;
    assert_eq!(world.claim(&redo, &wanted("one", 1, &["a"])).await, Ok(vec![]));
    world.succeed(&redo).await;
    let other = world.begin("two", 0).await;
    assert_eq!(world.claim(&other, &wanted("two", 0, &["a"])).await, Ok(vec!["a".into()]));
    assert_eq!(world.store.loads_in_the_way(&wanted("one", 0, &["a"])).await.unwrap()[0].generation, 1);
}

async fn a_redo_replaces_the_loads_of_the_generations_that_it_names_and_no_others(store: Arc<dyn JobStore>) {
    let mut world = World::new(store);
    for (generation, file, replaced_from) in [(0, "a", None), (1, "b", None), (2, "c", Some(1))] {
        let lease = world.begin("one", generation).await;
        assert_eq!(world.claim(&lease, &wanted("one", generation, &[file])).await, Ok(vec![]));
        world.finish(&lease, Outcome::Succeeded(Receipt { replaced_from, ..receipt(&lease) })).await;
    }
    let states: Vec<_> = world.loads().await.into_iter().map(|load| load.state).collect();
    assert_eq!(states, [LoadState::Loaded, LoadState::Replaced, LoadState::Loaded]);
}

async fn a_load_that_is_told_after_it_was_replaced_is_none(store: Arc<dyn JobStore>) {
    let mut world = World::new(store);
    let late = world.begin("one", 0).await;
    world.claim(&late, &wanted("one", 0, &["a"])).await.unwrap();
    let redo = world.begin("one", 1).await;
    world.claim(&redo, &wanted("one", 1, &["b"])).await.unwrap();
    world.finish(&redo, Outcome::Succeeded(Receipt { replaced_from: Some(0), ..receipt(&redo) })).await;
    world.succeed(&late).await;
    let states: Vec<_> = world.loads().await.into_iter().map(|load| load.state).collect();
    assert_eq!(states, [LoadState::Replaced, LoadState::Loaded]);
}

async fn a_file_that_was_left_out_is_free(store: Arc<dyn JobStore>) {
    let mut world = World::new(store);
    let first = world.begin("one", 0).await;
    world.claim(&first, &wanted("one", 0, &["a", "b"])).await.unwrap();
    world.store.release_files(&first, &["b".into()], "damaged", world.clock.now()).await.unwrap();
    world.succeed(&first).await;
    let second = world.begin("two", 0).await;
    assert_eq!(world.claim(&second, &wanted("two", 0, &["a", "b"])).await, Ok(vec!["a".into()]));
    let released = world.loads().await.into_iter().find(|load| load.state == LoadState::Released).unwrap();
    assert_eq!((released.file.uri.as_str(), released.reason.as_str()), ("b", "damaged"));
}

async fn a_table_made_after_the_claim_is_the_one_that_counts(store: Arc<dyn JobStore>) {
    let mut world = World::new(store);
    let first = world.begin("one", 0).await;
    world.claim(&first, &Wanted { table_uuid: None, ..wanted("one", 0, &["a"]) }).await.unwrap();
    world.store.name_table(&first, "uuid").await.unwrap();
    world.succeed(&first).await;
    assert_eq!(world.store.loads_in_the_way(&wanted("two", 0, &["a"])).await.unwrap().len(), 1);
}

async fn of_jobs_that_claim_at_the_same_moment_one_gets_each_file(store: Arc<dyn JobStore>) {
    let mut world = World::new(store);
    let mut leases = vec![];
    for task in 0..8 {
        leases.push((world.begin(&task.to_string(), 0).await, wanted(&task.to_string(), 0, &["a", "b"])));
    }
    let claims = leases.iter().map(|(lease, wanted)| world.claim(lease, wanted));
    let claims = futures::future::join_all(claims).await;
    assert_eq!(claims.iter().filter(|claim| **claim == Ok(vec![])).count(), 1, "{claims:?}");
    assert_eq!(world.loads().await.len(), 2);
}

async fn many_files_are_listed_page_by_page(store: Arc<dyn JobStore>) {
    let mut world = World::new(store);
    let names: Vec<String> = (0..2500).map(|n| format!("{n:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = world.begin("one", 0).await;
    world.claim(&first, &wanted("one", 0, &names)).await.unwrap();
    world.succeed(&first).await;
    let second = world.begin("two", 0).await;
    assert_eq!(world.claim(&second, &wanted("two", 0, &names)).await.unwrap(), names);
    let mut filter = LoadFilter { table: Some("a.b".into()), page_size: 900, ..LoadFilter::default() };
    let mut seen = vec![];
    loop {
        let page = world.store.file_loads(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some(last.into());
        seen.extend(page.into_iter().map(|load| load.file.uri));
    }
    assert_eq!(seen, names);
    let one = LoadFilter { uri: Some("00007".into()), ..LoadFilter::default() };
    assert_eq!(world.store.file_loads(&one).await.unwrap().len(), 1);
}

struct World {
    store: Arc<dyn JobStore>,
    clock: FakeClock,
}

impl World {
    fn new(store: Arc<dyn JobStore>) -> Self {
        Self { store, clock: FakeClock::default() }
    }

    async fn begin(&mut self, task: &str, generation: u32) -> Lease {
        let new = NewJob { generation, ..job(task) };
        let id = self.store.submit(new, self.clock.now()).await.unwrap().job.id;
        self.store.claim("w", LEASE, Which::Job(&id), self.clock.now()).await.unwrap().unwrap().lease
    }

    /// The files that are loaded already, or the job in the way.
    async fn claim(&self, lease: &Lease, wanted: &Wanted) -> Result<Vec<String>, JobId> {
        match self.store.claim_files(lease, wanted, self.clock.now()).await.unwrap() {
            Claimed::Files { loaded } => Ok(loaded.into_iter().map(|load| load.file.uri).collect()),
            Claimed::Busy { by } => Err(by.job_id),
        }
    }

    async fn succeed(&self, lease: &Lease) {
        self.finish(lease, Outcome::Succeeded(receipt(lease))).await;
    }

    async fn finish(&self, lease: &Lease, outcome: Outcome) {
        self.store.finish(lease, outcome, self.clock.now()).await.unwrap();
    }

    async fn loads(&self) -> Vec<FileLoad> {
        self.store.file_loads(&LoadFilter::default()).await.unwrap()
    }
}

pub(super) fn wanted(task: &str, generation: u32, uris: &[&str]) -> Wanted {
    let file = |uri: &&str| PlannedFile { uri: (*uri).to_owned(), size_bytes: 10, etag: Some("tag".into()) };
    Wanted {
        table: "a.b".into(),
        table_uuid: Some("uuid".into()),
        key: key(task),
        generation,
        reload: false,
        files: uris.iter().map(file).collect(),
    }
}
