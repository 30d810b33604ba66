//! The list of the behaviours that have to hold on every broker, and of those that need a
//! capability of the broker:
//!
//! * `holds_waiting_messages` – workers hold the messages that wait for their ETA. Where the broker
//!   itself keeps them, their number has no limit.
//! * `has_priorities` – urgent messages overtake others.
//! * `is_reached_by_processes` – the broker has an address for the commands of `celery-worker`.

/// Makes a test of each [`behaviour`](crate::behaviour) for a broker, a type that implements
/// [`Broker`](crate::broker::Broker). The tests of each subject are in a module of their own. The
/// capabilities of the broker follow its type.
///
/// With `by subject`, the behaviours of a subject are one test, which checks them in turn: the server
/// of a broker may take long to start, and a test is a process.
macro_rules! conformance {
    (@$kind:ident holds_waiting_messages $broker:ty) => {
        conformance! { @tests $kind holds_waiting_messages $broker:
            eta {
                the_number_that_waits_for_an_eta_is_limited
            }
        }
    };
    (@$kind:ident has_priorities $broker:ty) => {
        conformance! { @tests $kind has_priorities $broker:
            priorities {
                urgent_messages_come_first
                a_message_that_goes_back_keeps_its_priority
                a_retry_keeps_its_priority
            }
        }
    };
    (@$kind:ident is_reached_by_processes $broker:ty) => {
        conformance! { @tests $kind is_reached_by_processes $broker:
            dead_letters {
                the_command_dead_replay_puts_letters_back
            }
        }
    };
    (by subject $broker:ty $(: $($capability:ident),+)?) => {
        conformance! { @all by_subject $broker $(: $($capability),+)? }
    };
    (@all $kind:ident $broker:ty $(: $($capability:ident),+)?) => {
        $($(conformance! { @$kind $capability $broker })+)?
        conformance! { @tests $kind conformance $broker:
            settlement {
                a_success_is_stored_and_acknowledged
                nothing_is_acknowledged_before_its_verdict
                without_results_only_the_acknowledgement_remains
                ignored_results_are_not_stored_nor_are_their_errors
                a_failure_is_stored_with_its_exception
                a_failure_is_retried_as_its_task_says
                a_retry_publishes_the_task_again_until_its_limit
                a_task_that_expires_before_it_begins_is_revoked
                states_are_stored_until_there_is_a_success
                a_success_stays_although_a_copy_fails_later
                a_large_message_may_have_a_large_result
                an_ignored_task_is_only_acknowledged
                a_rejected_message_is_a_dead_letter_or_comes_again
                a_task_may_put_itself_back_without_limit
            }
            dead_letters {
                unknown_tasks_and_missing_bodies_are_dead_letters
                an_expired_task_is_revoked_and_not_a_dead_letter
                a_message_that_meets_a_bug_is_a_dead_letter_and_stops_no_other
            }
            unreadable {
                every_malformed_message_ends_and_none_stops_the_others
                of_250_bombs_no_more_are_read_than_fit
                only_accepted_content_is_read
            }
            redelivery {
                messages_of_a_dead_worker_are_delivered_to_another
                a_message_that_is_held_for_long_is_not_delivered_to_another
                a_message_that_comes_back_too_often_is_a_dead_letter
                a_message_that_kills_its_workers_is_a_dead_letter
                a_message_that_waited_beside_one_that_kills_is_not_counted
                a_delivery_that_is_dropped_goes_back_as_if_it_had_begun
                two_workers_share_the_work_and_each_task_is_done_once
                a_success_that_is_delivered_again_is_not_run_again_if_asked
            }
            eta {
                a_message_with_an_eta_waits_without_a_place
                no_task_runs_before_its_eta_and_all_run_then
                tasks_that_wait_with_a_dead_worker_are_run_by_another
                waiting_tasks_survive_a_restart_of_the_broker
            }
            queues {
                no_queue_is_starved_by_a_full_one
                a_queue_named_twice_is_consumed_once
                waiting_messages_are_deleted_at_the_start_if_asked
                the_number_held_from_all_queues_is_limited
            }
            order {
                messages_of_one_priority_keep_their_order
            }
            shutdown {
                tasks_that_have_not_begun_go_back
                unread_messages_go_back
                tasks_that_have_begun_go_back_marked
                a_worker_that_drains_takes_no_more_and_ends_what_it_has
                a_stop_without_a_broker_ends_and_reports_what_is_left
                deliveries_without_a_verdict_at_the_end_are_given_back
            }
            outages {
                killed_connections_lose_nothing
                a_verdict_from_before_a_cut_changes_no_other_message
                an_idle_worker_gets_a_message_after_its_connections_were_killed
                a_crash_loses_nothing
                tasks_done_while_the_broker_was_frozen_are_settled
                a_broker_that_comes_late_is_waited_for
            }
            follow_ups {
                a_chain_goes_on_with_the_result
                a_failed_step_fails_the_rest_of_its_chain
                a_chain_may_end_with_a_group
                options_of_a_follow_up_are_kept
                a_follow_up_may_go_to_a_queue_that_does_not_exist_yet
            }
            chords {
                the_body_is_called_with_all_results
                a_failed_member_fails_the_body_when_all_have_ended
                a_frozen_chord_may_be_applied_again
                a_chord_in_a_chain_goes_on_with_the_chain
                a_failed_chain_in_a_header_is_counted_by_its_last_step
                a_chord_that_cannot_be_counted_is_not_forgotten
            }
            results_elsewhere {
                states_and_results_are_stored_there
                nothing_is_acknowledged_before_its_result_is_stored
                chords_are_kept_there
            }
        }
    };
    (@tests each $name:ident $broker:ty: $($subject:ident { $($behaviour:ident)+ })+) => {
        mod $name {
            $(mod $subject {
                $(#[tokio::test]
                async fn $behaviour() {
                    crate::behaviour::$subject::$behaviour::<$broker>().await;
                })+
            })+
        }
    };
    (@tests by_subject $name:ident $broker:ty: $($subject:ident { $($behaviour:ident)+ })+) => {
        mod $name {
            $(#[tokio::test]
            async fn $subject() {
                $(
                    eprintln!("{}", stringify!($behaviour));
                    crate::behaviour::$subject::$behaviour::<$broker>().await;
                )+
            })+
        }
    };
    ($broker:ty $(: $($capability:ident),+)?) => {
        conformance! { @all each $broker $(: $($capability),+)? }
    };
}
