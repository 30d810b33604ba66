<?php

/*
 * The canvases of t/integration/test_canvas.py of Celery 5.7, as a PHP client writes them. Each case
 * has the class and the name of its test function. README.md in this folder lists those that are missing, and why.
 *
 * $t->add(4, 4) is the signature of the task t.integration.tasks.add.
 */

use Celery\Canvas;
use Celery\Chain;
use Celery\Chord;
use Celery\Group;
use CeleryTests\IntegrationTasks as Tasks;

$times = fn (int $count, Canvas $it): array => array_fill(0, $count, $it);

return [
    'test_link_error::test_link_error_using_signature' => function (Tasks $t) {
        $t->raises('ExpectedException', $t->fail('test')->linkError($t->return_exception()));
    },
    'test_link_error::test_mutable_errback_with_stored_arguments' => function (Tasks $t) {
        foreach ([['stored'], ['label' => 'stored']] as $stored) {
            $fail = $t->fail()->freeze();
            $t->raises('ExpectedException', $fail->linkError($t->errback_old_style_with_args(...$stored)));
            $t->awaitList(['stored'], $fail->id);
        }
    },

    'test_chain::test_simple_chain' => fn (Tasks $t) => $t->gives(32, $t->add(4, 4)->then($t->add(8), $t->add(16))),
    'test_chain::test_single_chain' => fn (Tasks $t) => $t->gives(7, new Chain($t->add(3, 4))),
    'test_chain::test_complex_chain' => function (Tasks $t) {
        $group = new Group(...array_map(fn ($i) => $t->add($i), range(0, 3)));
        $inner = new Chain($t->add(4), $t->add_replaced(8), $t->add(16), $t->add(32));
        $t->gives([64, 65, 66, 67], $t->add(2, 2)->then($inner, $group));
    },
    'test_chain::test_group_results_in_chain' => function (Tasks $t) {
        $t->gives([4, 5], new Group($t->add(1, 2)->then(new Group($t->add(1), $t->add(2)))));
    },
    'test_chain::test_chain_of_chain_with_a_single_task' => fn (Tasks $t) => $t->gives(42, new Chain(new Chain($t->identity(42)))),
    'test_chain::test_chain_on_error' => function (Tasks $t) {
        $result = (new Chain($t->add(1, 2), $t->fail(), $t->add(3, 4)))->delay();
        $t->raises('ExpectedException', $result);
        $t->raises('ExpectedException', $result->parent);
    },
    'test_chain::test_chain_inside_group_receives_arguments' => function (Tasks $t) {
        $t->gives([14, 14], $t->add(5, 6)->then(new Group($t->add(1)->then($t->add(2)), $t->add(3))));
    },
    'test_chain::test_group_chord_group_chain' => function (Tasks $t) {
        $echo = fn (string $message) => $t->redis_echo($message, 'redis-echo')->immutable();
        $before = new Group(...array_map(fn ($i) => $echo("before $i"), range(0, 2)));
        $after = new Group(...array_map(fn ($i) => $echo("after $i"), range(0, 1)));
        $before->then($echo('connect'), $after)->delay()->get($t::TIMEOUT);
        $echoed = $t->redis()->lRange('redis-echo', 0, -1);
        $t->same('connect', $echoed[3]);
        $t->same(['before 0', 'before 1', 'before 2'], $t->sorted(array_slice($echoed, 0, 3)));
        $t->same(['after 0', 'after 1'], $t->sorted(array_slice($echoed, 4)));
    },
    'test_chain::test_group_result_not_has_cache' => function (Tasks $t) {
        $is = fn (int $i) => $t->identity($i)->immutable();
        $t->gives([1, 2, [3, 4]], new Group($is(1), $is(2), new Chain($is(5), new Group($is(3), $is(4)))));
    },
    'test_chain::test_second_order_replace' => function (Tasks $t) {
        $t->second_order_replace1()->delay()->get($t::TIMEOUT);
        $t->same(['In A', 'In B', 'In/Out C', 'Out B', 'Out A'], $t->redis()->lRange('redis-echo', 0, -1));
    },
    'test_chain::test_replace_with_chain_that_contains_a_group' => function (Tasks $t) {
        $t->gives([4, 4], $t->replace_with_chain_which_contains_a_group());
    },
    'test_chain::test_parent_ids' => function (Tasks $t) {
        $tasks = array_map(fn ($i) => $t->ids(i: $i)->immutable(), range(0, 9));
        $last = (new Chain(...$tasks))->freeze()->delay();
        $root = $last;
        while ($root->parent !== null) {
            $root = $root->parent;
        }
        for ($i = 9, $node = $last; $node !== null; $node = $node->parent, $i--) {
            $t->same([$root->id, $node->parent?->id, $i], $node->get($t::TIMEOUT));
        }
    },
    'test_chain::test_chord_soft_timeout_recuperation' => function (Tasks $t) {
        $guarded = $t->delayed_sum_with_soft_guard([100], pause_time: 2)->set(softTimeLimit: 1);
        $t->gives(3, new Chord([$t->add(1, 2), $guarded], $t->delayed_sum(pause_time: 0)));
    },
    'test_chain::test_chain_error_handler_with_eta' => function (Tasks $t) {
        $chain = new Chain(new Group($t->add(1, 2), $t->add(3, 4)), $t->tsum());
        $result = $chain->onError($t->print_unicode())->applyAsync(eta: new DateTimeImmutable('+2 seconds'));
        $t->same(10, $result->get($t::TIMEOUT));
    },
    'test_chain::test_groupresult_serialization' => function (Tasks $t) {
        $result = $t->build_chain_inside_task()->delay()->get($t::TIMEOUT);
        $t->same(2, count($result));
        $t->same(true, is_array($result[0][1]));
    },
    'test_chain::test_chain_of_task_a_group_and_a_chord' => function (Tasks $t) {
        $chain = $t->add(1, 0)->immutable()->then(new Group($t->add(1), $t->add(1)));
        $t->gives(8, $chain->then(new Group($t->tsum(), $t->tsum()))->then($t->tsum()));
    },
    'test_chain::test_chain_of_chords_as_groups_chained_to_a_task_with_two_tasks' => function (Tasks $t) {
        $pair = new Group($t->add(1), $t->add(1));
        $t->gives(12, $t->add(1, 0)->immutable()->then($pair, $t->tsum(), $t->add(1), $pair, $t->tsum()));
    },
    'test_chain::test_chain_of_chords_with_two_tasks' => function (Tasks $t) {
        $pair = new Group($t->add(1), $t->add(1));
        $t->gives(12, $t->add(1, 0)->immutable()->then($pair, $t->tsum(), $t->add(1), new Chord($pair, $t->tsum())));
    },
    'test_chain::test_chain_of_explicit_chords' => function (Tasks $t) {
        $chord = fn (Canvas $it) => new Chord(new Group($it, $it), $t->tsum());
        $first = new Chain($chord($t->add(1, 0)->immutable()), $chord($t->add(1)), $chord($t->add(0)));
        $t->gives(178, $first->then(new Chain($chord($t->add(10)), $chord($t->add(0)), $chord($t->add(1)))));
    },
    'test_chain::test_header_failure_fails_the_chords_after_it' => function (Tasks $t) {
        foreach ([[$t->add(1, 1), $t->fail()], [$t->fail(), $t->fail()]] as $header) {
            $inner = new Chain(new Chord($header, $t->tsum()), new Chord([$t->add(1), $t->add(2)], $t->tsum()));
            $result = (new Group($inner, $t->add(1, 1)))->delay();
            $t->raises('ExpectedException|ChordError', $result);
            $t->same('FAILURE', $result[0]->state());
        }
    },
    'test_chain::test_header_failure_fails_the_chords_after_a_group_body' => function (Tasks $t) {
        $first = new Chord([$t->add(1, 1), $t->fail()], new Group($t->add(1), $t->add(2)));
        $inner = new Chain($first, new Chord([$t->add(1), $t->add(2)], $t->tsum()));
        $result = (new Group($inner, $t->add(1, 1)))->delay();
        $t->raises('ExpectedException|ChordError', $result);
        $t->same('FAILURE', $result[0]->state());
    },
    'test_chain::test_chain_of_nine_chords' => function (Tasks $t) use ($times) {
        $chord = fn (Canvas $it) => new Chord(new Group(...$times(3, $it)), $t->tsum());
        $middle = array_map(fn () => $chord($t->add(1)), range(1, 7));
        $t->gives(29520, new Chain($chord($t->add(1, 0)->immutable()), ...[...$middle, $chord($t->add(0))]));
    },
    'test_chain::test_chain_of_nine_implicit_chords' => function (Tasks $t) use ($times) {
        $pair = fn (Canvas $it) => [new Group(...$times(3, $it)), $t->tsum()];
        $middle = array_merge(...array_map(fn () => $pair($t->add(1)), range(1, 7)));
        $t->gives(29520, new Chain(...$pair($t->add(1, 0)->immutable()), ...$middle, ...$pair($t->add(0))));
    },
    'test_chain::test_chain_with_a_nested_chain_led_by_a_group' => function (Tasks $t) {
        $group = new Group($t->add(1, 1)->immutable(), $t->add(2, 2)->immutable());
        $t->gives(116, new Chain(new Chain($group, $t->tsum(), $t->add(10)), $t->add(100)));
    },
    'test_chain::test_chain_with_a_deserialised_chain_led_by_a_group' => function (Tasks $t) {
        $group = new Group($t->add(1, 1)->immutable(), $t->add(2, 2)->immutable());
        $inner = new Chain($group, $t->tsum(), $t->add(10));
        $restored = Canvas::fromArray(json_decode(json_encode($inner), true));
        $t->gives(116, new Chain($restored, $t->add(100)));
    },
    'test_chain::test_chain_of_a_chord_and_a_group_with_two_tasks' => function (Tasks $t) {
        $pair = new Group($t->add(1), $t->add(1));
        $t->gives([6, 6], $t->add(1, 0)->immutable()->then($pair, $t->tsum(), $t->add(1), $pair));
    },
    'test_chain::test_chain_of_a_chord_and_a_task_and_a_group' => function (Tasks $t) {
        $pair = new Group($t->add(1), $t->add(1));
        $t->gives([6, 6], (new Group($t->add(1, 1), $t->add(1, 1)))->then($t->tsum(), $t->add(1), $pair));
    },
    'test_chain::test_chain_of_a_chord_and_two_tasks_and_a_group' => function (Tasks $t) {
        $pair = new Group($t->add(1), $t->add(1));
        $first = new Group($t->add(1, 1), $t->add(1, 1));
        $t->gives([7, 7], $first->then($t->tsum(), $t->add(1), $t->add(1), $pair));
    },
    'test_chain::test_chain_of_a_chord_and_three_tasks_and_a_group' => function (Tasks $t) {
        $pair = new Group($t->add(1), $t->add(1));
        $first = new Group($t->add(1, 1), $t->add(1, 1));
        $t->gives([8, 8], $first->then($t->tsum(), $t->add(1), $t->add(1), $t->add(1), $pair));
    },
    'test_chain::test_nested_chain_group_lone' => fn (Tasks $t) => $t->gives([42, 42], new Chain(new Group($t->identity(42), $t->identity(42)))),
    'test_chain::test_nested_chain_group_mid' => function (Tasks $t) {
        $t->gives([42, 42], new Chain($t->identity(42), new Group($t->identity(), $t->identity()), $t->identity()));
    },
    'test_chain::test_nested_chain_group_last' => function (Tasks $t) {
        $t->gives([42, 42], new Chain($t->identity(42), new Group($t->identity(), $t->identity())));
    },
    'test_chain::test_chain_flattening_keep_links_of_inner_chain' => function (Tasks $t) {
        $inner = (new Chain($t->identity('a'), $t->add('b')))
            ->link($t->redis_echo('link_b called', redis_key: $t->key)->immutable())
            ->linkError($t->identity('link_ab'));
        $t->gives('abc', new Chain($inner, $t->add('c')));
        $t->awaitList(['link_b called'], $t->key);
    },
    'test_chain::test_chain_children_with_callbacks' => function (Tasks $t) use ($times) {
        $child = $t->identity(1337)->immutable()->link($t->redis_count(redis_key: $t->key)->immutable());
        $t->gives(1337, new Chain(...$times(42, $child)));
        $t->awaitCount(42, $t->key);
    },
    'test_chain::test_chain_children_with_errbacks' => function (Tasks $t) use ($times) {
        $child = $t->fail()->immutable()->linkError($t->redis_count(redis_key: $t->key)->immutable());
        $t->raises('ExpectedException', new Chain(...$times(42, $child)));
        $t->awaitCount(1, $t->key);
    },
    'test_chain::test_chaining_upgraded_chords_pure_groups' => function (Tasks $t) {
        $chain = new Chain($t->echoes(1, 2, 3), $t->echoes(4, 5, 6), $t->echoes(7), $t->echoes(8), $t->echoed(9), $t->echoed('Done', 'Done'));
        $t->runsEachOnce($chain);
    },
    'test_chain::test_chaining_upgraded_chords_starting_with_chord' => function (Tasks $t) {
        $chord = new Chord($t->echoes(1, 2, 3), $t->echoes(4, 5, 6));
        $t->runsEachOnce(new Chain($chord, $t->echoes(7), $t->echoes(8), $t->echoed(9), $t->echoed('Done', 'Done')));
    },
    'test_chain::test_chaining_upgraded_chords_mixed_canvas' => function (Tasks $t) {
        $chord = new Chord($t->echoes(1, 2, 3), $t->echoes(4, 5, 6));
        $t->runsEachOnce(new Chain($chord, $t->echoed(7), $t->echoes(8), $t->echoed(9), $t->echoed('Done', 'Done')));
    },
    'test_chain::test_chaining_upgraded_chords_mixed_canvas_protocol_2' => function (Tasks $t) {
        foreach ([$t->echoed('Done', 'Done'), new Group($t->echoed('Done', 'Done'))] as $last) {
            $t->redis()->del('echo_chamber', 'Done');
            $t->runsEachOnce(new Chain($t->echoes(1, 2), $t->echoes(3, 4, 5), $t->echoes(6, 7, 8, 9), $last));
        }
    },
    'test_chain::test_freezing_chain_sets_id_of_last_task' => function (Tasks $t) {
        $chain = $t->add(4)->then($t->add(2)->set(taskId: '42'));
        $t->same(null, $chain->id);
        $t->same('42', $chain->freeze()->id);
    },
    'test_chain::test_group_in_center_of_chain' => function (Tasks $t) {
        $body = new Chain($t->tsum(), new Group($t->add(8), $t->add(16)), $t->tsum()->then($t->add(32)));
        $t->gives(60, new Chord([$t->add(0, 1)], new Chord([$t->tsum(), $t->tsum()], $body)));
    },
    'test_chain::test_upgrade_to_chord_inside_chains' => function (Tasks $t) {
        $chord = $t->echoes('a', 'a')->then($t->echoes('a', 'a'));
        (new Chain($chord, $t->echoed('a')->then($t->echoed('b'))))->applyAsync()->get($t::TIMEOUT);
        $t->same(1, count(array_keys($t->redis()->lRange('echo_chamber', 0, -1), 'b')));
    },
    'test_chain::test_chain_of_group_followed_by_empty_groups' => function (Tasks $t) {
        $t->gives([4, 8], new Chain(new Group($t->add(2, 2), $t->add(4, 4)), new Group(), new Group()));
    },
    'test_chain::test_chain_skips_empty_groups_before_chord_body' => function (Tasks $t) {
        $t->gives(12, new Chain(new Group($t->add(2, 2), $t->add(4, 4)), new Group(), new Group(), $t->xsum()));
    },
    'test_chain::test_chain_of_two_groups_as_tuple_holds_each_task_once' => function (Tasks $t) {
        $group = new Group($t->add(1), $t->add(2));
        $chain = new Chain($t->add(1, 0)->immutable(), $group, new Group($t->tsum(), $t->tsum()), $t->tsum(), $t->add(1));
        foreach ([$chain, $chain->set(taskId: 'the-last')] as $chain) {
            $result = $chain->applyAsync();
            $ids = $t->ids_of($result);
            $t->same(9, count($ids));
            $t->same(9, count(array_unique($ids)));
            $t->same(11, $result->get($t::TIMEOUT));
        }
        $t->same('the-last', $result->id);
    },
    'test_chain::test_chord_with_chain_body_with_task_id' => function (Tasks $t) {
        $add = fn (int $x, int $y) => $t->add($x, $y)->immutable();
        $body = new Chain($add(1, 0), new Group($add(1, 1), $add(1, 2)), $add(2, 2)->then($add(3, 3)));
        $result = (new Chord([$add(1, 1), $add(1, 2)], $body->set(taskId: 'the-last')))->freeze()->applyAsync();
        $ids = $t->ids_of($result);
        $t->same($ids, array_values(array_unique($ids)));
        $t->same(6, $result->get($t::TIMEOUT));
    },

    'test_group::test_ready_with_exception' => function (Tasks $t) {
        $result = (new Group($t->add(1, 2), $t->raise_error()))->applyAsync();
        $t->until(fn () => $result->ready());
    },
    'test_group::test_empty_group_result' => function (Tasks $t) {
        $result = (new Group())->bind($t->client)->applyAsync();
        $result->save();
        $t->same(0, count($t->client->groupResult($result->id)));
    },
    'test_group::test_parent_ids' => function (Tasks $t) {
        $ids = fn (int $i) => $t->ids(i: $i)->immutable();
        $result = $ids(1)->then($ids(2), new Group(...array_map($ids, range(2, 49))))->delay();
        foreach ($result->get($t::TIMEOUT) as $i => $value) {
            $t->same([$result->parent->parent->id, $result->parent->id, $i + 2], $value);
        }
    },
    'test_group::test_nested_group' => function (Tasks $t) {
        $add = fn (int $y) => $t->add(1, $y)->immutable();
        $t->gives([11, 101, 1001, 2001], new Group($add(10), new Group($add(100), new Group($add(1000), $add(2000)))));
    },
    'test_group::test_large_group' => fn (Tasks $t) => $t->gives(range(0, 999), new Group(...array_map(fn ($i) => $t->identity($i), range(0, 999)))),
    'test_group::test_group_lone' => fn (Tasks $t) => $t->gives([42, 42], new Group($t->identity(42), $t->identity(42))),
    'test_group::test_nested_group_group' => fn (Tasks $t) => $t->gives([42, 42], new Group(new Group($t->identity(42), $t->identity(42)))),
    'test_group::test_nested_group_chord_counting_simple' => function (Tasks $t) {
        $t->gives([[42]], new Group(new Chord([$t->identity(42)->immutable()], $t->identity())));
    },
    'test_group::test_nested_group_chord_counting_chain' => function (Tasks $t) use ($times) {
        $chain = new Chain(...$times(42, $t->identity(1337)->immutable()));
        $t->gives([[1337]], new Group(new Chord([$chain], $t->identity())));
    },
    'test_group::test_nested_group_chord_counting_group' => function (Tasks $t) use ($times) {
        $group = new Group(...$times(42, $t->identity(1337)->immutable()));
        $t->gives([array_fill(0, 42, 1337)], new Group(new Chord([$group], $t->identity())));
    },
    'test_group::test_nested_group_chord_counting_chord' => function (Tasks $t) use ($times) {
        $chord = new Chord($times(42, $t->identity(1337)->immutable()), $t->identity(31337)->immutable());
        $t->gives([[31337]], new Group(new Chord([$chord], $t->identity())));
    },
    'test_group::test_nested_group_chord_counting_mixed' => function (Tasks $t) use ($times) {
        $is = $t->identity(42)->immutable();
        $many = $times(42, $is);
        $header = [$is, new Chain(...$many), new Group(...$many), new Chord($many, $t->identity(1337)->immutable())];
        $t->gives([[42, 42, ...array_fill(0, 42, 42), 1337]], new Group(new Chord($header, $t->identity())));
    },
    'test_group::test_nested_group_chord_body_chain' => function (Tasks $t) {
        $result = (new Group(new Chord([$t->identity(42)->immutable()], new Chain($t->identity()))))->delay();
        $t->same([42], $result[0]->get($t::TIMEOUT));
        $t->same([[42]], $result->get($t::TIMEOUT));
    },
    'test_group::test_group_ending_a_chain_in_a_group_gets_its_own_id' => function (Tasks $t) {
        $is = fn (int $i) => $t->identity($i)->immutable();
        $result = (new Group($is(1), new Chain($is(2), new Group($is(3), $is(4)))))->applyAsync();
        $t->same([1, [3, 4]], $result->get($t::TIMEOUT));
        $t->same(6, count(array_unique($t->ids_of($result))));
    },
    'test_group::test_errback_called_by_group_fail_first' => function (Tasks $t) {
        $group = new Group($t->fail(), $t->identity(42)->immutable());
        $t->raises('ExpectedException', $group->linkError($t->redis_echo('failed', redis_key: $t->key)->immutable()));
        $t->awaitList(['failed'], $t->key);
    },
    'test_group::test_errback_called_by_group_fail_last' => function (Tasks $t) {
        $group = new Group($t->identity(42)->immutable(), $t->fail());
        $t->raises('ExpectedException', $group->linkError($t->redis_echo('failed', redis_key: $t->key)->immutable()));
        $t->awaitList(['failed'], $t->key);
    },
    'test_group::test_mutable_errback_called_by_group' => function (Tasks $t) {
        $fail = $t->fail()->freeze();
        $t->raises('ExpectedException', (new Group($fail, $t->identity(42)->immutable()))->linkError($t->errback_old_style()));
        $t->awaitCount(1, $fail->id);
    },
    'test_group::test_errback_called_by_group_fail_multiple' => function (Tasks $t) use ($times) {
        $group = new Group(...$times(24, $t->identity(42)->immutable()), ...$times(42, $t->fail()));
        $t->raises('ExpectedException', $group->linkError($t->redis_count(redis_key: $t->key)->immutable()));
        $t->awaitCount(42, $t->key);
    },
    'test_group::test_group_children_with_callbacks' => function (Tasks $t) use ($times) {
        $child = $t->identity(1337)->immutable()->link($t->redis_count(redis_key: $t->key)->immutable());
        $t->gives(array_fill(0, 42, 1337), new Group(...$times(42, $child)));
        $t->awaitCount(42, $t->key);
    },
    'test_group::test_group_children_with_errbacks' => function (Tasks $t) use ($times) {
        $child = $t->fail()->immutable()->linkError($t->redis_count(redis_key: $t->key)->immutable());
        $t->raises('ExpectedException', new Group(...$times(42, $child)));
        $t->awaitCount(42, $t->key);
    },

    'test_chord::test_chord_order' => fn (Tasks $t) => $t->gives(range(0, 9), new Chord(array_map(fn ($i) => $t->identity($i)->immutable(), range(0, 9)), $t->identity())),
    'test_chord::test_reapplying_frozen_chord_dispatches_body_again' => function (Tasks $t) {
        $chord = (new Chord(new Group($t->add(1, 2), $t->add(3, 4)), $t->redis_count($t->key)->immutable()))->freeze();
        $counted = $t->countedChords();
        $chord->applyAsync()->get($t::TIMEOUT);
        $t->awaitCount(1, $t->key);
        // The members of the second call must not be counted with those of the first.
        $t->until(fn () => $t->countedChords() <= $counted);
        $chord->applyAsync()->get($t::TIMEOUT);
        $t->awaitCount(2, $t->key);
    },
    'test_chord::test_group_or_task_countdown_delays_header' => function (Tasks $t) {
        $chord = (new Group($t->return_request_eta(), $t->return_request_eta()))->then($t->identity());
        $etas = $chord->applyAsync(countdown: 2)->get($t::TIMEOUT);
        $t->same(2, count(array_filter($etas)));
    },
    'test_chord::test_group_chain' => function (Tasks $t) {
        $group = new Group(...array_map(fn ($i) => $t->add($i), range(0, 3)));
        $t->gives([12, 13, 14, 15], $t->add(2, 2)->then($group, $t->add_to_all(8)));
    },
    'test_chord::test_group_kwargs' => function (Tasks $t) {
        $group = new Group(...array_map(fn ($i) => $t->add($i), range(0, 3)));
        $result = $t->add(2, 2)->then($group, $t->add_to_all(8))->applyAsync(kwargs: ['z' => 1]);
        $t->same([13, 14, 15, 16], $result->get($t::TIMEOUT));
    },
    'test_chord::test_group_args_and_kwargs' => function (Tasks $t) {
        $group = new Group(...array_map(fn ($i) => $t->add($i), range(0, 3)));
        $result = $group->then($t->add_to_all(8))->applyAsync([4], ['z' => 1]);
        $t->same([13, 14, 15, 16], $t->sorted($result->get($t::TIMEOUT)));
    },
    'test_chord::test_nested_group_chain' => function (Tasks $t) {
        $add = fn (int $y) => $t->add(1, $y)->immutable();
        $group = new Group($add(100), new Chain($add(200), new Group($add(1000), $add(2000))));
        $t->gives(11, new Chain($add(0), $group, $add(10)));
    },
    'test_chord::test_single_task_header' => function (Tasks $t) {
        $t->gives([16], new Chord([$t->add(2, 5)], $t->add_to_all(9)));
        $t->gives([16], (new Group($t->add(2, 5)))->then($t->add_to_all(9)));
    },
    'test_chord::test_empty_header_chord' => function (Tasks $t) {
        $t->gives([], new Chord([], $t->add_to_all(9)));
        $t->gives([], (new Group())->then($t->add_to_all(9)));
    },
    'test_chord::test_nested_chord' => function (Tasks $t) {
        $one = new Chord([$t->add(1, 2), $t->add(3, 4)], $t->add([5]));
        $t->gives([[3, 7, 5, 'A'], [13, 10, 'A']], new Chord([$one, new Chord([$t->add(6, 7)], $t->add([10]))], $t->add_to_all(['A'])));
        $one = (new Group($t->add(1, 2), $t->add(3, 4)))->then($t->add([5]));
        $other = (new Group($t->add(6, 7)))->then($t->add([10]));
        $t->gives([[3, 7, 5, 'A'], [13, 10, 'A']], (new Group($one, $other))->then($t->add_to_all(['A'])));
        $nested = $t->add(1, 2);
        foreach ([3, 4, 5, 6] as $i) {
            $nested = (new Group($nested))->then($t->add([$i]));
        }
        $t->gives([[[[3, 3], 4], 5], 6], $nested);
    },
    'test_chord::test_parent_ids' => function (Tasks $t) {
        $ids = fn (int $i) => $t->ids(i: $i)->immutable();
        $root = $ids(1)->freeze();
        $group = new Group(...array_map($ids, range(3, 49)));
        $body = $t->collect_ids(i: 50)->then($ids(51));
        $t->assertParents((new Chain($root, $ids(2), new Chord($group, $body)))->delay(), $root->id);
    },
    'test_chord::test_parent_ids__plain_task_body' => function (Tasks $t) {
        $ids = fn (int $i) => $t->ids(i: $i)->immutable();
        $root = $ids(1)->freeze();
        $chord = new Chord(new Group(...array_map($ids, range(3, 49))), $t->collect_ids(i: 50));
        $result = (new Chain($root, $ids(2), $chord))->delay();
        [, [$rootId, $parentId, $value]] = $result->get($t::TIMEOUT);
        $t->same([$root->id, 50], [$rootId, $value]);
        $t->same(true, in_array($parentId, array_map(fn ($it) => $it->id, iterator_to_array($result->parent)), true));
    },
    'test_chord::test_parent_ids__OR' => function (Tasks $t) {
        $ids = fn (int $i) => $t->ids(i: $i)->immutable();
        $root = $ids(1)->freeze();
        $group = new Group(...array_map($ids, range(3, 49)));
        $t->assertParents($root->then($ids(2), $group, $t->collect_ids(i: 50), $ids(51))->delay(), $root->id);
    },
    'test_chord::test_parallel_chords' => function (Tasks $t) {
        $chord = new Chord(new Group($t->add(1, 2), $t->add(3, 4)), $t->tsum());
        $t->gives([10, 10], new Group($chord, $chord));
    },
    'test_chord::test_chord_in_chords_with_chains' => function (Tasks $t) {
        $add = $t->add(1, 2)->immutable();
        $chain = new Chain($add, new Chord(new Group($add, $add), $add));
        $t->gives(4, new Chord(new Group($chain, $chain), $t->add(2, 2)->immutable()));
    },
    'test_chord::test_chain_chord_chain_chord' => function (Tasks $t) {
        $is = fn (int $i) => $t->identity($i)->immutable();
        $inner = new Chain($is(3), new Chord([$is(4), $is(5)], $is(6)));
        $t->gives(7, new Chain($is(1), new Chord([$is(2), $inner], $is(7))));
    },
    'test_chord::test_chord_in_chain_with_args' => function (Tasks $t) {
        $chain = new Chain(new Chord([$t->identity(), $t->identity()], $t->identity()), $t->identity());
        $t->same([1, 1], $chain->applyAsync([1])->get($t::TIMEOUT));
    },
    'test_chord::test_chain_in_chain_with_args' => function (Tasks $t) {
        $t->same(1, (new Chain(new Chain($t->identity(), $t->identity())))->applyAsync([1])->get($t::TIMEOUT));
    },
    'test_chord::test_large_header' => function (Tasks $t) {
        $t->gives(499500, (new Group(...array_map(fn ($i) => $t->identity($i)->immutable(), range(0, 999))))->then($t->tsum()));
    },
    'test_chord::test_chain_to_a_chord_with_large_header' => function (Tasks $t) use ($times) {
        $t->gives(1000, $t->identity(1)->immutable()->then(new Group(...$times(1000, $t->identity())), $t->tsum()));
    },
    'test_chord::test_priority' => fn (Tasks $t) => $t->gives('Priority: 3', new Chain($t->return_priority()->set(priority: 3))),
    'test_chord::test_priority_chain' => function (Tasks $t) {
        $t->gives('Priority: 5', $t->return_priority()->set(priority: 3)->then($t->return_priority()->set(priority: 5)));
    },
    'test_chord::test_nested_chord_group' => function (Tasks $t) {
        $t->gives([42, 42], new Chord([new Group($t->identity(42), $t->identity(42))], $t->identity()));
    },
    'test_chord::test_nested_chord_group_chain_group_tail' => function (Tasks $t) {
        $chain = new Chain($t->identity(42), new Group($t->identity(), $t->identity()));
        $t->gives([[42, 42]], new Chord(new Group($chain), $t->identity()));
    },
    'test_chord::test_group_body_does_not_take_the_header_id' => function (Tasks $t) {
        $is = fn (int $i) => $t->identity($i)->immutable();
        $result = (new Chord(new Group($is(1), $is(2)), new Group($is(3), $is(4))))->applyAsync();
        $t->same([3, 4], $result->get($t::TIMEOUT));
        $t->same(6, count(array_unique($t->ids_of($result))));
    },
    'test_chord::test_error_propagates_from_chord2' => function (Tasks $t) {
        $t->raises('ExpectedException', $t->add(1, 1)->then($t->add(1), new Group($t->add(1), $t->fail())));
    },
    'test_chord::test_error_propagates_to_chord_from_simple' => fn (Tasks $t) => $t->failsAsHeaderAndBody($t->fail()),
    'test_chord::test_immutable_errback_called_by_chord_from_simple' => fn (Tasks $t) => $t->callsErrbackAsHeaderAndBody($t->fail()),
    'test_chord::test_error_propagates_to_chord_from_chain' => fn (Tasks $t) => $t->failsAsHeaderAndBody(new Chain($t->identity(42)->immutable(), $t->fail(), $t->identity(42)->immutable())),
    'test_chord::test_immutable_errback_called_by_chord_from_chain' => fn (Tasks $t) => $t->callsErrbackAsHeaderAndBody(new Chain($t->identity(42)->immutable(), $t->fail(), $t->identity(42)->immutable())),
    'test_chord::test_error_propagates_to_chord_from_chain_tail' => fn (Tasks $t) => $t->failsAsHeaderAndBody(new Chain($t->identity(42)->immutable(), $t->fail())),
    'test_chord::test_immutable_errback_called_by_chord_from_chain_tail' => fn (Tasks $t) => $t->callsErrbackAsHeaderAndBody(new Chain($t->identity(42)->immutable(), $t->fail())),
    'test_chord::test_error_propagates_to_chord_from_group' => fn (Tasks $t) => $t->failsAsHeaderAndBody(new Group($t->identity(42)->immutable(), $t->fail())),
    'test_chord::test_immutable_errback_called_by_chord_from_group' => fn (Tasks $t) => $t->callsErrbackAsHeaderAndBody(new Group($t->identity(42)->immutable(), $t->fail())),
    'test_chord::test_mutable_errback_called_by_chord_from_simple' => fn (Tasks $t) => $t->callsMutableErrback($t->fail()),
    'test_chord::test_mutable_errback_called_by_chord_from_group' => fn (Tasks $t) => $t->callsMutableErrback(new Group($t->identity(42)->immutable(), $t->fail())),
    'test_chord::test_mutable_errback_called_by_chord_from_chain' => fn (Tasks $t) => $t->callsMutableErrback(new Chain($t->identity(42)->immutable(), $t->fail(), $t->identity(42)->immutable())),
    'test_chord::test_mutable_errback_called_by_chord_from_chain_tail' => fn (Tasks $t) => $t->callsMutableErrback(new Chain($t->identity(42)->immutable(), $t->fail())),
    'test_chord::test_immutable_errback_called_by_chord_from_group_fail_multiple' => function (Tasks $t) use ($times) {
        $group = new Group(...$times(24, $t->identity(42)->immutable()), ...$times(42, $t->fail()));
        $chords = [1 => new Chord([$group], $t->identity()), 42 => new Chord([$t->identity(42)->immutable()], $group)];
        foreach ($chords as $expected => $chord) {
            $t->redis()->del($t->key);
            $t->raises('ExpectedException|ChordError', $chord->linkError($t->redis_count(redis_key: $t->key)->immutable()));
            $t->awaitCount($expected, $t->key);
        }
    },
    'test_chord::test_mutable_errback_called_by_chord_from_group_fail_multiple_on_header_failure' => function (Tasks $t) use ($times) {
        $group = new Group(...$times(8, $t->identity(42)->immutable()), ...$times(42, $t->fail()));
        $body = $t->identity()->freeze();
        $t->raises('ExpectedException|ChordError', (new Chord([$group], $body))->linkError($t->errback_old_style()));
        $t->awaitCount(1, $body->id);
    },
    'test_chord::test_mutable_errback_called_by_chord_from_group_fail_multiple_on_body_failure' => function (Tasks $t) use ($times) {
        $fails = array_map(fn (Canvas $it) => $it->freeze(), $times(42, $t->fail()));
        $group = new Group(...$times(8, $t->identity(42)->immutable()), ...$fails);
        $t->raises('ExpectedException|ChordError', (new Chord([$t->identity(42)->immutable()], $group))->linkError($t->errback_old_style()));
        foreach ($fails as $fail) {
            $t->awaitCount(1, $fail->id);
        }
    },
    'test_chord::test_chord_error_propagation_with_different_body_types' => function (Tasks $t) {
        $bodies = [
            $t->add(1)->immutable(),
            new Chain($t->tsum(), $t->add(2)),
            new Group($t->tsum(), $t->tsum()),
            new Chord([$t->tsum(), $t->tsum()], $t->tsum()),
        ];
        foreach ($bodies as $body) {
            $chain = new Chain(new Group($t->add(15, 7)->immutable(), $t->fail()->immutable()), $body);
            // Python stores no failure of a chord that is a body; its client raises that of the header.
            $t->raises('ExpectedException|ChordError', $body instanceof Chord ? $chain->delay()->parent : $chain);
        }
    },
    'test_chord::test_chord_error_in_nested_chain_does_not_crash' => function (Tasks $t) {
        $inner = new Chain(new Group($t->add(1, 1)->immutable(), $t->fail()->immutable()), $t->identity());
        $t->raises('ExpectedException|ChordError', new Chain($inner, $t->identity()));
    },
    'test_chord::test_chord_unlock_with_failed_task_in_nested_chain_member' => function (Tasks $t) {
        $is = fn (int $i) => $t->identity($i)->immutable();
        $member = new Chain($t->fail()->immutable(), new Group($is(2), $is(3)), $is(4));
        $t->raises('ExpectedException|ChordError', new Chain(new Group($is(1), $member), $t->identity()));
    },
    'test_chord::test_chain_of_implicit_chords_as_body' => function (Tasks $t) {
        foreach ([[false, false], [false, true], [true, false], [true, true]] as [$serialized, $frozen]) {
            $callback = $t->identity()->freeze();
            $steps = [$t->tsum()];
            for ($i = 0; $i < 5; $i++) {
                array_push($steps, new Group($t->add(1), $t->add(2)), $i < 4 ? $t->tsum() : $t->tsum()->link($callback));
            }
            $chord = new Chord([$t->add(1, 1)->immutable(), $t->add(2, 2)->immutable()], new Chain(...$steps));
            $chord = $frozen ? $chord->freeze() : $chord;
            $chord = $serialized ? Canvas::fromArray(json_decode(json_encode($chord), true))->bind($t->client) : $chord;
            $t->same(285, $chord->applyAsync()->get($t::TIMEOUT));
            $t->same(285, $t->client->result($callback->id)->get($t::TIMEOUT));
        }
    },
    'test_chord::test_chain_of_implicit_chords_body_failure' => function (Tasks $t) {
        $add = $t->add(1, 2)->immutable();
        foreach ([[new Group($t->fail()->immutable(), $add), $t->tsum()], [new Group($add), $t->fail()->immutable()]] as [$group, $callback]) {
            $t->redis()->del($t->key);
            $body = new Chain($callback, new Group($t->add(1), $t->add(2)), $t->tsum());
            $body = $body->linkError($t->redis_echo('failed', redis_key: $t->key)->immutable());
            $chord = new Chord([$t->add(1, 1)->immutable()], new Chain($t->tsum(), new Chord($group, $body)));
            $t->raises('ExpectedException|ChordError', $chord);
            $t->until(fn () => $t->redis()->lLen($t->key) > 0);
        }
    },
    'test_chord::test_link_option_runs_after_the_body' => function (Tasks $t) {
        $body = $t->tsum()->link($t->redis_echo('own', redis_key: $t->key)->immutable());
        $chord = new Chord([$t->add(1, 1)->immutable(), $t->add(2, 2)->immutable()], $body);
        $t->same(6, $chord->applyAsync(link: $t->redis_echo(redis_key: $t->key))->get($t::TIMEOUT));
        $t->awaitList(['own', '6'], $t->key);
    },
    'test_chord::test_link_option_on_chain_ending_in_chord' => function (Tasks $t) {
        $chain = new Chain($t->add(1, 1)->immutable(), new Chord([$t->add(10), $t->add(20)], $t->tsum()));
        $t->same(34, $chain->applyAsync(link: $t->redis_echo(redis_key: $t->key))->get($t::TIMEOUT));
        $t->awaitList(['34'], $t->key);
    },
    'test_chord::test_link_error_option_runs_on_body_failure' => function (Tasks $t) {
        $chord = new Chord([$t->identity(42)->immutable()], $t->fail()->linkError($t->errback_old_style()));
        $result = $chord->applyAsync(linkError: $t->errback_new_style());
        $t->raises('ExpectedException', $result);
        $t->awaitCount(2, $result->id);
    },
    'test_chord::test_link_option_on_group_body_runs_once' => function (Tasks $t) {
        $body = new Group($t->tsum()->link($t->redis_echo('own', redis_key: $t->key)->immutable()), $t->tsum());
        $chord = new Chord([$t->add(1, 1)->immutable(), $t->add(2, 2)->immutable()], $body);
        $link = $t->redis_echo('chord', redis_key: $t->key)->immutable();
        $t->same([6, 6], $chord->applyAsync(link: $link)->get($t::TIMEOUT));
        $t->awaitList(['own', 'chord'], $t->key);
    },
    'test_chord::test_link_error_option_runs_on_header_failure' => function (Tasks $t) {
        $bodies = [2 => new Group($t->tsum(), $t->tsum()), 1 => new Chord([$t->tsum(), $t->tsum()], $t->tsum())];
        foreach ($bodies as $times => $body) {
            $t->redis()->del($t->key);
            $errback = $t->redis_echo('failed', redis_key: $t->key)->immutable();
            $chord = new Chord([$t->add(1, 1)->immutable(), $t->fail()->immutable()], $body);
            $t->raises('ExpectedException|ChordError', $chord->applyAsync(linkError: $errback)->parent);
            $t->awaitList(array_fill(0, $times, 'failed'), $t->key);
        }
    },
    'test_chord::test_link_error_option_keeps_errbacks_of_group_body_tasks' => function (Tasks $t) {
        $errback = fn (string $text) => $t->redis_echo($text, redis_key: $t->key)->immutable();
        $body = new Group($t->fail()->linkError($errback('own')), $t->tsum());
        $chord = new Chord([$t->add(1, 1)->immutable()], $body);
        $t->raises('ExpectedException', $chord->applyAsync(linkError: $errback('chord')));
        $t->awaitList(['own', 'chord'], $t->key);
    },
    'test_chord::test_errbacks_of_group_body_tasks_run_on_header_failure' => function (Tasks $t) {
        $errback = fn (string $text) => $t->redis_echo($text, redis_key: $t->key)->immutable();
        $body = new Group($t->tsum()->linkError($errback('own')), $t->tsum());
        $chord = new Chord([$t->add(1, 1)->immutable(), $t->fail()->immutable()], $body);
        foreach ([fn () => $chord->applyAsync(linkError: $errback('chord')), fn () => $chord->linkError($errback('chord'))->delay()] as $send) {
            $t->redis()->del($t->key);
            $t->raises('ExpectedException|ChordError', $send());
            $t->awaitList(['own', 'chord', 'chord'], $t->key);
        }
    },
    'test_chord::test_errbacks_of_chord_in_group_body_run_on_header_failure' => function (Tasks $t) {
        $errback = $t->redis_echo('chord', redis_key: $t->key)->immutable();
        $body = new Group(new Chord([$t->add(2, 2)->immutable()], $t->tsum()), $t->tsum());
        $chord = new Chord([$t->add(1, 1)->immutable(), $t->fail()->immutable()], $body);
        foreach ([fn () => $chord->applyAsync(linkError: $errback), fn () => $chord->linkError($errback)->delay()] as $send) {
            $t->redis()->del($t->key);
            $t->raises('ExpectedException|ChordError', $send());
            $t->awaitList(['chord', 'chord'], $t->key);
        }
    },
    'test_chord::test_errback_set_as_one_signature_runs_on_header_failure' => function (Tasks $t) {
        $first = $t->tsum()->set(linkError: $t->redis_echo('own', redis_key: $t->key)->immutable());
        $chord = new Chord([$t->add(1, 1)->immutable(), $t->fail()->immutable()], new Group($first, $t->tsum()));
        $t->raises('ExpectedException|ChordError', $chord);
        $t->awaitList(['own'], $t->key);
    },
    'test_chord::test_link_error_option_with_link_error_of_group_body' => function (Tasks $t) {
        $errback = fn (string $text) => $t->redis_echo($text, redis_key: $t->key)->immutable();
        $body = (new Group($t->fail(), $t->tsum()))->set(linkError: $errback('group'));
        $chord = new Chord([$t->add(1, 1)->immutable()], $body);
        $t->raises('ExpectedException', $chord->applyAsync(linkError: $errback('chord')));
        $t->awaitList(['group', 'chord'], $t->key);
    },
    'test_chord::test_link_error_option_runs_once_for_chord_in_group_body_with_link_error' => function (Tasks $t) {
        $errback = fn (string $text) => $t->redis_echo($text, redis_key: $t->key)->immutable();
        $inner = new Chord([$t->add(1, 1)->immutable()], new Group($t->fail(), $t->tsum()));
        $chord = new Chord([$t->add(1, 1)->immutable()], (new Group($inner))->set(linkError: $errback('group')));
        $t->raises('ExpectedException', $chord->applyAsync(linkError: $errback('chord')));
        $t->awaitList(['group', 'chord'], $t->key);
    },

    'test_xmap_xstarmap::test_starmap_keeps_frozen_id_and_link' => function (Tasks $t) {
        $starmap = $t->add()->starmap([[1, 1], [2, 2]])->link($t->redis_echo('starmap done')->immutable())->freeze();
        $result = $starmap->delay();
        $t->same($starmap->id, $result->id);
        $t->same([2, 4], $result->get($t::TIMEOUT));
        $t->awaitList(['starmap done'], 'redis-echo');
    },
    'test_xmap_xstarmap::test_starmap_in_a_group_and_a_chain' => function (Tasks $t) {
        $starmap = $t->add()->starmap([[1, 1], [2, 2]]);
        $t->gives([[2, 4], 6], new Group($starmap, $t->add(3, 3)));
        $t->gives([2, 4], new Chain($t->add(1, 1)->immutable(), $starmap));
    },

    'test_stamping_mechanism::test_stamping_workflow' => function (Tasks $t) {
        $chains = [$t->add(1, 2)->then($t->add(3)), $t->add(4, 5)->then($t->add(6)), $t->identity(21)->immutable()];
        $canvas = (new Group(...$chains))->then(new Group($t->xsum(), $t->xsum()));
        $canvas = $canvas->linkError($t->identity('link_error')->immutable())->stamp(on_signature: 42);
        $t->gives([42, 42], $canvas);
    },
    'test_stamping_mechanism::test_stamping_example_canvas' => function (Tasks $t) {
        $first = (new Group($t->identity(1), $t->identity(2), $t->identity(3)))->then($t->xsum());
        $t->gives(180, new Chain($first, new Chord(new Group($t->mul(10), $t->mul(10), $t->mul(10)), $t->xsum())));
    },

    'test_signature_serialization::test_rebuild_nested_chain_chain' => fn (Tasks $t) => $t->rebuilds('chain_chain'),
    'test_signature_serialization::test_rebuild_nested_chain_group' => fn (Tasks $t) => $t->rebuilds('chain_group'),
    'test_signature_serialization::test_rebuild_nested_chain_chord' => fn (Tasks $t) => $t->rebuilds('chain_chord'),
    'test_signature_serialization::test_rebuild_nested_group_chain' => fn (Tasks $t) => $t->rebuilds('group_chain'),
    'test_signature_serialization::test_rebuild_nested_group_group' => fn (Tasks $t) => $t->rebuilds('group_group'),
    'test_signature_serialization::test_rebuild_nested_group_chord' => fn (Tasks $t) => $t->rebuilds('group_chord'),
    'test_signature_serialization::test_rebuild_nested_chord_chain' => fn (Tasks $t) => $t->rebuilds('chord_chain'),
    'test_signature_serialization::test_rebuild_nested_chord_group' => fn (Tasks $t) => $t->rebuilds('chord_group'),
    'test_signature_serialization::test_rebuild_nested_chord_chord' => fn (Tasks $t) => $t->rebuilds('chord_chord'),
];
