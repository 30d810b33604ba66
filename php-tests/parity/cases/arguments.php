<?php

/** The task's arguments: which PHP arrays are positional, and how every PHP value is sent. */

declare(strict_types=1);

use CeleryParity\Fixtures\Colour;
use CeleryParity\Fixtures\Pair;
use CeleryParity\Fixtures\Suit;
use CeleryParity\Lab;

$args = fn (mixed $args) => fn (Lab $lab) => $lab->post(fn () => $lab->client()->PostTask('proj.echo', $args instanceof Closure ? $args() : $args));

$holes = ['a', 'b', 'c'];
unset($holes[1]);

return [
    'args: a list' => $args([1, 'two', 3.5, true, false, null]),
    'args: empty' => $args([]),
    'args: by name' => $args(['x' => 1, 'y' => 2]),
    'args: mixed keys' => $args([1, 'x' => 2]),
    'args: a list with a hole' => $args($holes),
    'args: a list out of order' => $args([1 => 'b', 0 => 'a']),
    'args: a list from one' => $args([1 => 'a', 2 => 'b']),
    'args: numbers as names' => $args(['0' => 'a', '1' => 'b']),
    'args: a list of one' => $args([[]]),
    'args: nested lists and maps' => $args([[1, [2, ['k' => [3]]]], ['a' => ['b' => ['c' => null]]]]),
    'args: empty list, empty object' => $args([[], new stdClass(), ['k' => []], ['k' => new stdClass()]]),
    'args: strings' => $args(['', 'plain', 'naïve café', '日本語', '😀', "a\"b\\c/d\n\t\0\u{2028}", '0', '1.0', '</script>']),
    'args: names that are not ASCII' => $args(['größe' => 1, '' => 2, "a b\n" => 3]),
    'args: integers' => $args([0, -1, 1, PHP_INT_MAX, PHP_INT_MIN]),
    'args: floats' => $args([0.1, 1.5, -2.25, 1.0, 10.0, -0.0, 1e100, 1.0e-7, 0.1 + 0.2, 123456789012345678.0]),
    'args: objects' => $args([(object) ['a' => 1, 'b' => [2]], new Pair(1, 2)]),
    'args: an object that says its own JSON' => $args([new class() implements JsonSerializable {
        public function jsonSerialize(): mixed
        {
            return ['said' => [1, 2]];
        }
    }]),
    'args: enums with values' => $args([Suit::Hearts, ['k' => Suit::Spades]]),
    'args: dates' => $args([new DateTimeImmutable('2030-01-02 03:04:05.678', new DateTimeZone('UTC'))]),
    'args: ArrayObject inside' => $args([new ArrayObject(['a' => 1])]),
    'args: a closure inside' => $args([fn () => 1]),
    'args: a large list' => fn (Lab $lab) => $lab->post(fn () => $lab->client()->PostTask('proj.echo', range(1, 2000)))['posted'][0]['args'] === range(1, 2000)
        ? ['whole' => true] : ['whole' => false],
    'args: a megabyte' => function (Lab $lab): array {
        $lab->client()->PostTask('proj.echo', [str_repeat('ü', 500_000)]);

        return ['whole' => $lab->posted()[0]['args'][0] === str_repeat('ü', 500_000)];
    },
    'args: a reference' => function (Lab $lab): array {
        $shared = 1;
        $list = [&$shared, 2];

        return $lab->post(fn () => $lab->client()->PostTask('proj.echo', $list));
    },
    'args: stay as they were' => function (Lab $lab): array {
        $list = [new Pair(1, 2), 'x' => ['y']];
        $before = serialize($list);
        $lab->client()->PostTask('proj.echo', $list);

        return ['unchanged' => serialize($list) === $before];
    },

    'not args: null' => $args(null),
    'not args: a string' => $args('2, 3'),
    'not args: a number' => $args(5),
    'not args: false' => $args(false),
    'not args: an object' => $args(new stdClass()),
    'not args: an ArrayObject' => $args(new ArrayObject([1])),
    'not args: what the message names' => fn (Lab $lab) => $lab->answer(fn () => $lab->client()->PostTask('proj.add', 'x'), ['array']),

    'cannot travel: a string of invalid UTF-8' => $args(["\xff"]),
    'cannot travel: a name of invalid UTF-8' => $args(["\xff" => 1]),
    'cannot travel: infinity' => $args([INF]),
    'cannot travel: not a number' => $args([NAN]),
    'cannot travel: a resource' => $args(fn () => [STDIN]),
    'cannot travel: an enum without values' => $args([Colour::Red]),
    'cannot travel: an array within itself' => function (Lab $lab): array {
        $loop = [1];
        $loop[] = &$loop;

        return $lab->post(fn () => $lab->client()->PostTask('proj.echo', $loop));
    },
    'cannot travel: an object within itself' => function (Lab $lab): array {
        $loop = new stdClass();
        $loop->self = $loop;

        return $lab->post(fn () => $lab->client()->PostTask('proj.echo', [$loop]));
    },
    'cannot travel: too deep' => function (Lab $lab): array {
        $deep = [];
        for ($level = 0; $level < 600; ++$level) {
            $deep = [$deep];
        }

        return $lab->post(fn () => $lab->client()->PostTask('proj.echo', $deep));
    },
    'cannot travel: its own JSON throws' => $args([new class() implements JsonSerializable {
        public function jsonSerialize(): mixed
        {
            throw new DomainException('no');
        }
    }]),
];
