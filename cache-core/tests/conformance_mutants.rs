//! The conformance suite finds what it looks for: for each way of breaking a promise, the test of that promise fails.

mod mutants;
mod replicated;

use std::{
    any::Any,
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock},
    task::Waker,
    time::{Duration, SystemTime},
};

use cache_core::{
    Backend, Clock, Error, ErrorKind, Expiry, Inline, Offload, SetMode, SyncBackend, TimeSource,
    layers::{Around, Call, Hook, Operation, Reply},
    testing::{
        FakeClock, Fault, Faulty, Model,
        conformance::{self, Harness},
    },
};

use self::{
    mutants::{Bug, Mutant},
    replicated::Replicated,
};

const CASES: &[(Bug, &str)] = &[
    (Bug::AddInTwoSteps, "d07_add_has_exactly_one_winner"),
    (Bug::AddInTwoSteps, "d07_add_has_one_winner_over_an_expired_entry"),
    (Bug::AddBlockedByExpired, "an_expired_entry_is_absent_for_add"),
    (Bug::AddOverwrites, "add_leaves_a_live_key_as_it_is"),
    (Bug::ReplaceCreates, "replace_leaves_an_absent_key_absent"),
    (Bug::ReplaceInTwoSteps, "replace_never_revives"),
    (Bug::SetKeepsLifetime, "set_resets_the_lifetime"),
    (Bug::SetSwapsHalves, "values_are_never_mixed"),
    (Bug::DeleteIsAlwaysTrue, "delete_is_true_once"),
    (Bug::DeleteInTwoSteps, "delete_has_exactly_one_winner"),
    (Bug::TakeInTwoSteps, "pop_has_exactly_one_winner"),
    (Bug::TakeInTwoSteps, "pop_loses_no_count"),
    (Bug::TakeLeaves, "pop_reads_and_removes"),
    (Bug::TouchRevives, "d01_touch_never_revives"),
    (Bug::TouchCreates, "d01_touch_never_creates"),
    (Bug::TouchIsFalseForNever, "d02_touch_is_true_for_every_live_key"),
    (Bug::TouchDoesNothing, "touch_sets_the_lifetime"),
    (Bug::TouchDoesNothing, "touch_with_a_longer_life_saves_the_entry"),
    (Bug::TouchDoesNothing, "touch_with_a_shorter_life_ends_it_earlier"),
    (Bug::TouchWritesTheValue, "touch_loses_no_increment"),
    (Bug::TouchWritesTheValue, "touch_never_revives_what_is_deleted"),
    (Bug::TouchRemovesForAMoment, "d21_touch_never_tears_a_read"),
    (Bug::IncrInTwoSteps, "d06_no_increment_is_lost"),
    (Bug::IncrInTwoSteps, "d06_no_increment_from_nothing_is_lost"),
    (Bug::IncrLosesLifetime, "d05_incr_keeps_the_lifetime"),
    (Bug::IncrAcceptsPlus, "d12_only_canonical_integers_are_integers"),
    (Bug::IncrTrims, "d12_only_canonical_integers_are_integers"),
    (Bug::IncrSaturates, "d11_overflow_is_refused_and_the_number_left"),
    (Bug::IncrStopsAtZero, "d08_incr_goes_below_zero"),
    (Bug::IncrStopsAtZero, "d09_a_negative_number_can_be_counted"),
    (Bug::IncrMakesTextZero, "d10_what_is_no_number_is_refused_and_left"),
    (Bug::IncrMakesTextZero, "incr_or_refuses_what_is_no_number"),
    (Bug::IncrCreates, "incr_of_an_absent_key_stores_nothing"),
    (Bug::IncrWithFloats, "incr_reaches_both_ends_of_i64"),
    (Bug::IncrOrIsImmortal, "incr_or_creates_with_its_lifetime"),
    (Bug::IncrOrExpiresLater, "d06_no_increment_from_nothing_is_lost"),
    (Bug::IncrOrRenewsLifetime, "incr_or_counts_what_is_there"),
    (Bug::WholeSecondsRoundedDown, "d03_half_a_second_is_not_lost_at_once"),
    (Bug::WholeSecondsRoundedDown, "the_shortest_lifetime_is_kept"),
    (Bug::AMillisecondEarly, "d04_a_second_is_never_early"),
    (Bug::ASecondLate, "d04_a_second_is_never_early"),
    (Bug::ASecondLate, "ttl_is_what_remains"),
    (Bug::ThirtyDaysAreADate, "d15_more_than_thirty_days_work"),
    (Bug::ThirtyDaysAreADate, "a_long_life_outlives_thirty_days"),
    (Bug::LongLifetimesWrap, "d15_centuries_work"),
    (Bug::LongLifetimesWrap, "d15_the_longest_lifetime_is_never"),
    (Bug::NeverIsAYear, "a_long_life_outlives_thirty_days"),
    (Bug::ExpiredIsThere, "an_expired_entry_is_absent_for_reads"),
    (Bug::ExpiredIsThere, "lifetimes_end_one_by_one"),
    (Bug::ExpiredIsCounted, "an_expired_entry_is_absent_for_incr"),
    (Bug::ExpiredIsTaken, "an_expired_entry_is_absent_for_pop"),
    (Bug::ExpiredIsDeleted, "an_expired_entry_is_absent_for_delete"),
    (Bug::ExpiredIsRenamed, "an_expired_entry_is_absent_for_rename"),
    (Bug::ExpiredIsReplaced, "an_expired_entry_is_absent_for_replace"),
    (Bug::PurgeDeletesBlindly, "d20_an_expired_entry_is_never_in_the_way_of_a_write"),
    (Bug::TtlOfNeverIsNone, "an_entry_without_lifetime_is_forever"),
    (Bug::TtlStandsStill, "ttl_runs_down"),
    (Bug::EntryInTwoSteps, "value_and_lifetime_belong_together"),
    (Bug::BatchReversed, "get_many_answers_each_key_in_order"),
    (Bug::BatchReversed, "get_entries_answers_each_key_in_order"),
    (Bug::BatchReversed, "delete_many_answers_each_key_in_order"),
    (Bug::BatchLeavesOutMisses, "get_many_answers_each_key_in_order"),
    (Bug::BatchEndsAtAThousand, "batches_of_thousands_of_keys_work"),
    (Bug::BatchTakesNoEmptyOne, "d28_empty_batches_are_empty"),
    (Bug::BatchLifetimeIsNever, "set_many_writes_every_item"),
    (Bug::BatchLifetimeIsNever, "set_many_overwrites_value_and_lifetime"),
    (Bug::BatchDeleteCountsAll, "delete_many_answers_each_key_in_order"),
    (Bug::CompareIgnoresBytes, "compare_and_delete_leaves_other_bytes"),
    (Bug::CompareIgnoresBytes, "compare_and_set_leaves_other_bytes"),
    (Bug::CompareIgnoresBytes, "comparisons_take_all_bytes"),
    (Bug::CompareIgnoresBytes, "a_new_count_is_a_change"),
    (Bug::CompareByPrefix, "compare_and_delete_leaves_other_bytes"),
    (Bug::CompareIgnoresStamp, "a_stale_stamp_is_refused_after_a_set"),
    (Bug::CompareIgnoresStamp, "a_stale_stamp_is_refused_after_a_touch"),
    (Bug::CompareIgnoresStamp, "a_stale_stamp_is_refused_after_a_new_entry"),
    (Bug::CompareIgnoresStamp, "a_stamp_of_a_batch_is_as_good"),
    (Bug::CompareIgnoresStamp, "d20_a_purge_leaves_what_was_written_meanwhile"),
    (Bug::CompareInTwoSteps, "compare_and_set_loses_no_update"),
    (Bug::CompareInTwoSteps, "compare_and_delete_has_exactly_one_winner"),
    (Bug::CompareCreates, "comparing_with_an_absent_key_is_false"),
    (Bug::CompareCreates, "an_expired_entry_is_absent_for_comparisons"),
    (Bug::CompareLosesLifetime, "compare_and_set_keeps_the_lifetime"),
    (Bug::CompareKeepsLifetime, "compare_and_set_sets_the_lifetime"),
    (Bug::CompareTooLargeRemoves, "too_large_in_compare_and_set_leaves_the_old_value"),
    (Bug::RenameLosesLifetime, "d16_rename_moves_the_lifetime"),
    (Bug::RenameCopies, "rename_moves_the_value"),
    (Bug::RenameSparesTarget, "rename_overwrites_its_target"),
    (Bug::RenameOfNothingEmptiesTarget, "rename_of_an_absent_key_changes_nothing"),
    (Bug::RenameInTwoSteps, "rename_has_exactly_one_winner"),
    (Bug::ClearByPrefix, "d26_clear_spares_what_is_not_in_the_namespace"),
    (Bug::ClearByPrefix, "clear_spares_what_is_written_elsewhere_meanwhile"),
    (Bug::ClearByGlob, "clear_takes_the_prefix_literally"),
    (Bug::ClearIgnoresCase, "d26_clear_spares_what_is_not_in_the_namespace"),
    (Bug::ClearIgnoresCase, "clear_of_an_unusual_prefix_is_exact"),
    (Bug::ClearOneVersion, "clear_removes_every_version"),
    (Bug::ClearSparesOurWords, "clear_removes_what_the_library_stored"),
    (Bug::ClearForgetsNever, "clear_removes_all_kinds_of_entries"),
    (Bug::ClearIsFlush, "d26_clear_spares_what_is_not_in_the_namespace"),
    (Bug::ClearTheEmptyPrefixIsFlush, "clear_of_the_empty_prefix_spares_other_keys"),
    (Bug::ClearStopsAtAThousand, "clear_removes_thousands_of_keys"),
    (Bug::ClearStoreSparesForeign, "clear_store_removes_everything"),
    (Bug::EmptyIsAbsent, "an_empty_value_is_a_value"),
    (Bug::EmptyIsAbsent, "has_key_tells_live_keys"),
    (Bug::ValuesAreText, "every_byte_comes_back"),
    (Bug::ValuesEndAtZero, "words_of_protocols_are_values"),
    (Bug::ValuesAreTrimmed, "words_of_protocols_are_values"),
    (Bug::NumbersAreNormalised, "a_value_is_never_taken_for_a_number"),
    (Bug::ValuesAreCut, "values_of_every_length_come_back"),
    (Bug::ValuesAreCut, "a_large_value_comes_back"),
    (Bug::KeysIgnoreCase, "keys_that_look_alike_are_different"),
    (Bug::KeysIgnoreCase, "keys_of_every_letter_work"),
    (Bug::KeysAreCut, "long_keys_are_told_apart_by_their_last_byte"),
    (Bug::KeysArePaths, "keys_that_look_like_paths_or_patterns_stay_keys"),
    (Bug::TooLargeLeavesOld, "too_large_is_typed_and_the_old_value_gone"),
    (Bug::TooLargeIsStored, "too_large_is_typed_and_the_old_value_gone"),
    (Bug::TooLargeRemovesWhatAddLeaves, "too_large_does_not_spoil_what_add_and_replace_leave"),
    (Bug::TooLargeFailsTheBatch, "too_large_in_a_batch_fails_alone"),
    (Bug::CloseIsForGood, "calls_after_close_connect_again"),
    (Bug::CloseOnce, "close_may_be_called_again"),
    (Bug::CheckFails, "check_says_that_the_store_serves"),
    (Bug::ReadsRenew, "reading_changes_nothing"),
    (Bug::StampsOfReads, "a_stamp_holds_as_long_as_nothing_is_written"),
    (Bug::EntryIsForever, "get_entry_answers_value_and_remaining_life"),
    (Bug::TtlOfNothingIsForever, "ttl_of_an_absent_key_is_none"),
    (Bug::SetIsAdd, "set_overwrites_the_value"),
    (Bug::AddIsForever, "add_writes_an_absent_key"),
    (Bug::AddBlockedByRemoved, "a_removed_key_can_be_written_again"),
    (Bug::ReplaceKeepsLifetime, "replace_writes_a_live_key"),
    (Bug::TouchEmpties, "touch_keeps_the_value"),
    (Bug::BatchOfTooManyBytes, "batches_of_large_values_work"),
    (Bug::BatchDeletesByPrefix, "a_batch_leaves_other_keys_alone"),
    (Bug::IncrAnswersTheOld, "incr_adds_and_answers_the_sum"),
    (Bug::IncrPads, "a_counter_is_plain_text"),
    (Bug::IncrOrSaturates, "incr_or_creates_nothing_on_overflow"),
    (Bug::ExpiredIsInTheWay, "an_expired_entry_can_be_written_again"),
    (Bug::CompareNever, "compare_and_delete_removes_what_was_seen"),
    (Bug::CompareNever, "compare_and_set_replaces_what_was_seen"),
    (Bug::RenameNotBack, "a_renamed_entry_can_be_renamed_back"),
    (Bug::RenamedIsBlind, "a_renamed_entry_is_an_entry"),
    (Bug::ClearOfNothingFails, "clear_of_nothing_is_no_error"),
    (Bug::ClearedStaysCleared, "a_cleared_key_can_be_written_again"),
    (Bug::KeysAreShort, "the_longest_key_works"),
    (Bug::KeysAreLatin, "keys_of_other_scripts_work"),
    (Bug::LimitIsLess, "the_largest_value_is_taken"),
    (Bug::SetSwapsHalves, "values_of_batches_are_never_mixed"),
    (Bug::SetSwapsHalves, "a_dropped_write_has_its_effect_or_not"),
    (Bug::NameIsEmpty, "the_name_is_a_name"),
    (Bug::CloseDisturbs, "calls_during_close_are_answered"),
    (Bug::SharesNothing, "handles_share_one_store"),
    (Bug::SharesNothing, "entries_outlive_a_handle"),
    (Bug::AddInTwoSteps, "add_and_delete_take_turns"),
];

/// What shows through the facade. Most promises of its own are kept or broken in it, not in a store.
const THROUGH_THE_FACADE: &[(Bug, &str)] = &[
    (Bug::AddInTwoSteps, "d07_one_of_many_callers_adds"),
    (Bug::AddOverwrites, "add_writes_only_what_is_absent"),
    (Bug::ReplaceCreates, "replace_writes_only_what_is_there"),
    (Bug::TouchIsFalseForNever, "d01_d02_touch_is_true_for_what_is_live_and_makes_nothing"),
    (Bug::TouchCreates, "d01_d02_touch_is_true_for_what_is_live_and_makes_nothing"),
    (Bug::DeleteIsAlwaysTrue, "delete_tells_whether_it_was_there"),
    (Bug::DeleteIsAlwaysTrue, "d13_zero_or_past_removes_for_replace_and_touch"),
    (Bug::TakeInTwoSteps, "one_of_many_callers_pops"),
    (Bug::TakeLeaves, "pop_gives_the_value_once"),
    (Bug::TtlStandsStill, "the_default_is_the_aliass_and_else_five_minutes"),
    (Bug::TtlOfNothingIsForever, "ttl_tells_what_remains"),
    (Bug::TooLargeLeavesOld, "too_large_is_told_and_the_old_value_gone"),
    (Bug::TooLargeFailsTheBatch, "too_large_is_told_and_the_old_value_gone"),
    (Bug::BatchReversed, "get_many_gives_the_hits_under_the_callers_keys"),
    (Bug::BatchReversed, "batches_of_thousands_are_whole"),
    (Bug::BatchEndsAtAThousand, "batches_of_thousands_are_whole"),
    (Bug::BatchLifetimeIsNever, "set_many_writes_all_with_one_lifetime"),
    (Bug::BatchDeleteCountsAll, "delete_many_counts_what_was_there"),
    (Bug::IncrAnswersTheOld, "incr_and_decr_answer_the_new_value"),
    (Bug::IncrCreates, "incr_of_a_missing_key_is_key_not_found"),
    (Bug::IncrLosesLifetime, "d05_counting_keeps_the_lifetime"),
    (Bug::IncrStopsAtZero, "d08_d09_counting_goes_below_zero"),
    (Bug::IncrAcceptsPlus, "d10_d12_what_is_no_integer_is_refused_and_left"),
    (Bug::IncrTrims, "d10_d12_what_is_no_integer_is_refused_and_left"),
    (Bug::IncrSaturates, "d11_overflow_is_refused_and_left"),
    (Bug::IncrOrIsImmortal, "incr_or_begins_with_initial_and_its_lifetime"),
    (Bug::IncrInTwoSteps, "d06_no_count_of_many_callers_is_lost"),
    (Bug::ThirtyDaysAreADate, "d15_no_timeout_makes_a_write_disappear"),
    (Bug::AMillisecondEarly, "d03_d04_an_entry_lives_as_long_as_asked"),
    (Bug::ASecondLate, "d03_d04_an_entry_lives_as_long_as_asked"),
    (Bug::NeverIsAYear, "never_must_be_written_out"),
    (Bug::KeysIgnoreCase, "unusual_keys_are_keys"),
    (Bug::CompareInTwoSteps, "update_loses_no_change"),
    (Bug::CompareIgnoresBytes, "update_begins_again_on_a_conflict"),
    (Bug::CompareKeepsLifetime, "update_sets_the_lifetime"),
    (Bug::CompareNever, "d22_damaged_bytes_are_a_miss_and_removed"),
    (Bug::CompareIgnoresBytes, "d20_only_what_was_seen_is_purged"),
    (Bug::RenameCopies, "incr_version_moves_the_entry"),
    (Bug::RenameLosesLifetime, "d16_incr_version_moves_the_lifetime"),
    (Bug::RenameSparesTarget, "incr_version_overwrites_its_target"),
    (Bug::RenameOfNothingEmptiesTarget, "incr_version_of_a_missing_key_is_key_not_found"),
    (Bug::RenameNotBack, "decr_version_moves_back"),
    (Bug::ClearOneVersion, "clear_removes_all_versions_of_the_alias"),
    (Bug::ClearByPrefix, "d26_clear_spares_other_caches_and_foreign_keys"),
    (Bug::ClearStoreSparesForeign, "clear_store_clears_all"),
    (Bug::ValuesAreText, "bytes_come_back_as_they_were"),
    (Bug::NumbersAreNormalised, "bytes_are_stored_as_they_are"),
    (Bug::CloseOnce, "check_and_close_may_be_called_at_any_time"),
];

/// Of these alone the random comparison must find most: those that need neither a race nor odd bytes.
const FOUND_AT_RANDOM: &[Bug] = &[
    Bug::AddBlockedByExpired,
    Bug::AddOverwrites,
    Bug::ReplaceCreates,
    Bug::SetKeepsLifetime,
    Bug::DeleteIsAlwaysTrue,
    Bug::TakeLeaves,
    Bug::TouchRevives,
    Bug::TouchIsFalseForNever,
    Bug::TouchDoesNothing,
    Bug::IncrLosesLifetime,
    Bug::IncrSaturates,
    Bug::IncrCreates,
    Bug::IncrOrIsImmortal,
    Bug::IncrOrRenewsLifetime,
    Bug::ExpiredIsThere,
    Bug::ExpiredIsCounted,
    Bug::ExpiredIsRenamed,
    Bug::BatchReversed,
    Bug::CompareIgnoresStamp,
    Bug::CompareLosesLifetime,
    Bug::RenameLosesLifetime,
    Bug::RenameCopies,
    Bug::ClearForgetsNever,
];

fn harness(bug: Bug) -> Harness {
    let time = FakeClock::new();
    let clock = time.clock();
    // Threads for the calls, because a mutant's pauses must not stop the tasks that race with it.
    let open = move || Arc::new(Offload::new(Mutant::new(bug, Model::new(clock.clone())), 8)) as _;
    Harness::new(format!("{bug:?}"), open).clock(time).may_clear_store()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_broken_promise_is_named() {
    let mut missed = Vec::new();
    for (bug, test) in CASES {
        let report = conformance::backend(harness(*bug).only(&[test])).await;
        missed.extend((report.failed() != [*test]).then_some((bug, test, report)));
    }
    for (bug, test) in THROUGH_THE_FACADE {
        let report = conformance::cache(harness(*bug).only(&[test])).await;
        missed.extend((report.failed() != [*test]).then_some((bug, test, report)));
    }
    assert!(missed.is_empty(), "the suite does not see: {missed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_steps_find_what_needs_no_race() {
    let test = "random_operations_answer_as_the_model_does";
    let mut missed = Vec::new();
    for bug in FOUND_AT_RANDOM {
        let report = conformance::backend(harness(*bug).only(&[test])).await;
        if report.failed() != [test] {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "random steps do not see: {missed:?}");
}

/// Every test of the suite has been seen to fail.
#[test]
fn no_test_is_without_a_mutant() {
    // What these need is needed by all others: a store that fails them fails everything.
    let plain = ["get_answers_what_was_set", "get_of_an_absent_key_is_a_miss"];
    let random = ["random_operations_answer_as_the_model_does"];
    let elsewhere = DESYNCHRONISED
        .iter()
        .chain(&COUNTED_TWICE)
        .chain(&ONE_RUNTIME)
        .chain(&NO_VIEW)
        .chain(&LEADER_VIEW)
        .chain(&BY_THE_WALL);
    let seen: Vec<_> =
        CASES.iter().map(|it| &it.1).chain(elsewhere).chain(&plain).chain(&random).collect();
    let tests = conformance::backend_tests();
    let never: Vec<_> = tests.iter().filter(|it| !seen.contains(it)).collect();
    assert!(never.is_empty(), "no mutant is aimed at {never:#?}");
}

/// The tests that a store with this hook must fail.
async fn hooked<H: Hook>(hook: fn() -> H, tests: &[&str]) {
    let open = move || {
        Arc::new(Around::new(Arc::new(hook()), Arc::new(Inline::new(Model::default())))) as _
    };
    let report = conformance::backend(Harness::new("hooked", open).only(tests)).await;
    assert_eq!(report.failed(), tests);
}

const DESYNCHRONISED: [&str; 3] = [
    "a_dropped_read_disturbs_no_other_call",
    "a_dropped_write_disturbs_no_other_call",
    "dropped_calls_among_others_disturb_none",
];

/// One connection for all, and who goes away leaves an answer in it for the next.
#[derive(Debug, Default)]
struct Desynchronised {
    answers: Mutex<VecDeque<Box<dyn Any + Send>>>,
}

impl Hook for Desynchronised {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let answer = run().await;
        self.answers.lock().unwrap().push_back(Box::new(answer));
        tokio::task::yield_now().await; // the bytes are on their way
        let next = self.answers.lock().unwrap().pop_front();
        let next = next.and_then(|it| it.downcast::<R>().ok());
        next.map_or_else(
            || R::failed(&call, Error::new(ErrorKind::Backend, "odd answer")),
            |it| *it,
        )
    }
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_to_dropped_calls_are_seen() {
    hooked(Desynchronised::default, &DESYNCHRONISED).await;
}

const COUNTED_TWICE: [&str; 1] = ["a_dropped_increment_counts_once_or_not"];

/// Makes each call again.
#[derive(Debug)]
struct Twice;

impl Hook for Twice {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        _: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        run().await;
        run().await
    }
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_count_that_is_made_again_is_seen() {
    hooked(|| Twice, &COUNTED_TWICE).await;
}

const ONE_RUNTIME: [&str; 1] = ["two_runtimes_can_call"];

/// Serves only the runtime that it was called in first, as a connection does.
#[derive(Debug, Default)]
struct OneRuntime(OnceLock<tokio::runtime::Id>);

impl Hook for OneRuntime {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let here = tokio::runtime::Handle::current().id();
        if *self.0.get_or_init(|| here) == here {
            return run().await;
        }
        R::failed(&call, Error::new(ErrorKind::Unavailable, "a socket of another runtime"))
    }
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_for_one_runtime_is_seen() {
    hooked(OneRuntime::default, &ONE_RUNTIME).await;
}

const BY_THE_WALL: [&str; 1] = ["a_step_of_the_wall_clock_changes_no_lifetime"];

/// Takes the wall's time for lifetimes.
struct Wall(Clock);

impl TimeSource for Wall {
    fn now(&self) -> Duration {
        self.0.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
    fn wall(&self) -> SystemTime {
        self.0.wall()
    }
    fn wake_at(&self, _: Duration, _: &Waker) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_follows_the_wall_is_seen() {
    let time = FakeClock::new();
    let clock = time.clock();
    let open =
        move || Arc::new(Inline::new(Model::new(Clock::from_source(Wall(clock.clone()))))) as _;
    let harness = Harness::new("wall", open).clock(time).only(&BY_THE_WALL);
    assert_eq!(conformance::backend(harness).await.failed(), BY_THE_WALL);
}

/// A store that rounds, as its facts say, keeps every promise: in moved time and in real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whole_seconds_are_no_bug() {
    conformance::run_backend(harness(Bug::WholeSeconds)).await;
    conformance::run_cache(harness(Bug::WholeSeconds)).await;
    let open = || Arc::new(Inline::new(Mutant::new(Bug::WholeSeconds, Model::default()))) as _;
    conformance::run_backend(Harness::new("whole seconds in real time", open)).await;
}

/// Several handles on one store that lasts, which need not be empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shared_store_is_tested_with_several_handles() {
    let time = FakeClock::new();
    let store = Arc::new(Mutant::new(Bug::Lasting, Model::new(time.clock())));
    let shared = || {
        let store = Arc::clone(&store);
        let open = move || Arc::new(Inline::from_arc(Arc::clone(&store))) as _;
        Harness::new("lasting", open).clock(time.clone())
    };
    store.set("not of the suite", "v".into(), Expiry::Never, SetMode::Always).unwrap();
    let report = conformance::backend(shared()).await;
    report.assert_passed();
    assert!(report.passed().contains(&"handles_share_one_store"));
    assert!(report.passed().contains(&"entries_outlive_a_handle"));
    conformance::run_cache(shared()).await;
    assert_eq!(store.entries(), 1, "the suite removes what it wrote, and nothing else");
}

const NO_VIEW: [&str; 1] = ["the_sync_view_is_the_same_store"];

/// A view that does not serve.
#[derive(Debug)]
struct NoView;

impl Hook for NoView {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        _: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        run().await
    }
    fn around_sync<R: Reply>(&self, call: Call<'_>, _: impl Fn() -> R) -> R {
        R::failed(&call, Error::new(ErrorKind::Unsupported, "no view"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sync_view_that_differs_is_seen() {
    hooked(|| NoView, &NO_VIEW).await;
}

const LEADER_VIEW: [&str; 1] = ["the_leader_view_is_the_same_store"];

/// A store of one server, whose leader view is made of that server.
fn led_by(view: impl Fn(&Arc<dyn Backend>) -> Arc<dyn Backend> + Send + Sync + 'static) -> Harness {
    let open = move || {
        let leader: Arc<dyn Backend> = Arc::new(Offload::new(Model::default(), 2));
        let (view, facts) = (Some(view(&leader)), leader.capabilities());
        Arc::new(Replicated { copy: Arc::clone(&leader), leader, view, facts }) as _
    };
    Harness::new("led", open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_view_that_differs_is_seen() {
    let seen = async |view: fn(&Arc<dyn Backend>) -> Arc<dyn Backend>| {
        conformance::backend(led_by(view).only(&LEADER_VIEW)).await.failed() == LEADER_VIEW
    };
    assert!(seen(|_| Arc::new(Offload::new(Model::default(), 2))).await, "another store");
    let lags = |leader: &Arc<dyn Backend>| {
        let copy: Arc<dyn Backend> = Arc::new(Offload::new(Model::default(), 2));
        let (leader, facts) = (Arc::clone(leader), leader.capabilities());
        Arc::new(Replicated { leader, copy, view: None, facts }) as _
    };
    assert!(seen(lags).await, "a view that reads a copy that lags");
    let two = |leader: &Arc<dyn Backend>| {
        let (leader, facts) = (Arc::clone(leader), leader.capabilities());
        let view = Some(Arc::clone(&leader));
        Arc::new(Replicated { copy: Arc::clone(&leader), leader, view, facts }) as _
    };
    assert!(seen(two).await, "a view with a view of its own");
    conformance::backend(led_by(Arc::clone)).await.assert_passed();
}

/// A store whose own reads lag behind has a leader view that does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_leader_view_is_tested_where_plain_reads_lag() {
    let open = || {
        let part = || Arc::new(Offload::new(Model::default(), 2)) as Arc<dyn Backend>;
        let (leader, copy) = (part(), part());
        let (view, facts) = (Some(Arc::clone(&leader)), leader.capabilities());
        Arc::new(Replicated { leader, copy, view, facts }) as _
    };
    let report = conformance::backend(Harness::new("lags", open).only(&LEADER_VIEW)).await;
    assert_eq!(report.passed(), LEADER_VIEW);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_hangs_fails_and_does_not_hang_the_suite() {
    let open = || {
        let store = Faulty::new(Arc::new(Inline::new(Model::default())));
        store.inject(|call| match call.operation {
            Operation::HasKey => Fault::Hang,
            _ => Fault::None,
        });
        Arc::new(store) as _
    };
    let harness = Harness::new("hangs", open)
        .patience(Duration::from_millis(50))
        .only(&["has_key_tells_live_keys", "get_answers_what_was_set"]);
    let report = conformance::backend(harness).await;
    assert_eq!(report.failed(), ["has_key_tells_live_keys"]);
    assert_eq!(report.passed(), ["get_answers_what_was_set"]);
}
