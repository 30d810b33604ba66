<?php

namespace CeleryTests\Interop;

use Celery\Chain;
use Celery\Chord;
use Celery\Client;
use Celery\Compression;
use Celery\Group;
use Celery\Serializer;
use Celery\Value;
use CeleryTests\Programs;
use CeleryTests\WithEachWorker;
use PHPUnit\Framework\TestCase;

/**
 * Each worker (Python Celery in three versions, and ours) runs what `Celery\Client` sends, in every
 * serializer and compression that it has, and under every option.
 */
class PostingTest extends TestCase
{
    use WithEachWorker;

    private const OURS = 'playground';
    private const FIRST = 10;

    private function client(string $worker, int $db): Client
    {
        self::start($worker, $db, ['--accept-content', 'json,msgpack,yaml']);

        return new Client(Programs::redisUrl($db));
    }

    /** Returns the result of a task, read by the drop-in. */
    private function value(\Celery\Result $result, int $db): mixed
    {
        $details = ['host' => getenv('REDIS_HOST'), 'login' => null, 'password' => null, 'vhost' => $db, 'exchange' => 'celery', 'binding' => 'celery', 'port' => (int) getenv('REDIS_PORT'), 'connector' => 'redis'];
        $old = new \AsyncResult($result->id, $details);
        $value = $old->get(30);
        $this->assertSame('SUCCESS', $old->getStatus(), json_encode($value));

        return $value;
    }

    /** @dataProvider workers */
    public function test_every_serializer_and_compression(string $worker, int $db): void
    {
        $client = $this->client($worker, $db);
        $echo = $client->signature('proj.echo', ['žluťoučký 🎉', 0.5, null, [1, ['a' => []]]], ['key' => 'value']);
        foreach (Serializer::cases() as $serializer) {
            foreach ([null, 'zlib', ...Compression::cases()] as $compression) {
                $results[] = $echo->applyAsync(serializer: $serializer, compression: $compression);
            }
        }
        foreach ($results as $result) {
            $value = $this->value($result, $db);
            $this->assertEquals(['žluťoučký 🎉', 0.5, null, [1, (object) ['a' => []]]], $value->args);
            $this->assertEquals((object) ['key' => 'value'], $value->kwargs);
        }
    }

    /** @dataProvider workers */
    public function test_both_protocols(string $worker, int $db): void
    {
        $client = $this->client($worker, $db);
        foreach ([1, 2] as $protocol) {
            $this->assertSame(5, $this->value($client->sendTask('proj.add', [2, 3], protocol: $protocol), $db));
            $this->assertSame(42, $this->value($client->with(protocol: $protocol)->sendTask('proj.mul', kwargs: ['x' => 6, 'y' => 7]), $db));
        }
    }

    /** @dataProvider workers */
    public function test_canvases_in_both_protocols(string $worker, int $db): void
    {
        foreach ([1, 2] as $protocol) {
            $client = $this->client($worker, $db)->with(protocol: $protocol);
            [$add, $mul, $xsum] = array_map($client->signature(...), ['proj.add', 'proj.mul', 'proj.xsum']);
            $chain = new Chain($add->s(2, 3), $mul->s(4), $add->s(1), $mul->s(2));
            $this->assertSame(42, $this->value($chain->delay(), $db));
            $this->assertSame(25, $this->value((new Chain($add->s(2, 3), $mul->s(4), new Chain($add->s(1), $add->s(4))))->delay(), $db));
            $upgraded = new Chain($add->s(1, 1), new Group($add->s(1), $mul->s(10)), $xsum->s(), $mul->s(2));
            $this->assertSame(46, $this->value($upgraded->delay(), $db));
            $chord = new Chord([new Chain($add->s(1, 2), $mul->s(3)), $add->s(3, 4)], new Chain($xsum->s(), $mul->s(10)));
            $this->assertSame(160, $this->value($chord->delay(), $db));
        }
        $plain = $this->client($worker, $db)->signature('proj.add');
        $this->assertSame(6, $this->value((new Chain($plain->s(1, 2), $plain->s(3)))->applyAsync(protocol: 1), $db));
    }

    /** Python has the types themselves: its results have kombu's forms. Celery 5.2 has no form for bytes. */
    public function test_python_reads_the_types_of_messagepack_and_yaml(): void
    {
        foreach (['5.7', '5.4'] as $version) {
            [$worker, $db] = $this->workers()[$version];
            $client = $this->client($worker, $db);
            $bytes = [Value::bytes("\xff\x00"), Value::bytes('abc')];
            $times = [new \DateTimeImmutable('2026-01-02T03:04:05.678901+02:00'), Value::date(new \DateTime('2026-01-02'))];
            foreach (['msgpack' => $bytes, 'yaml' => [...$bytes, ...$times]] as $serializer => $values) {
                $value = $this->value($client->signature('proj.echo', $values)->applyAsync(serializer: $serializer), $db);
                $expected = [
                    ['__type__' => 'base64', '__value__' => '/wA='], ['__type__' => 'bytes', '__value__' => 'abc'],
                    ['__type__' => 'datetime', '__value__' => '2026-01-02T03:04:05.678901+02:00'],
                    ['__type__' => 'date', '__value__' => '2026-01-02'],
                ];
                $this->assertEquals(array_slice($expected, 0, count($values)), json_decode(json_encode($value->args), true), "$version $serializer");
            }
        }
    }

    public function test_bytes_in_messagepack_and_yaml(): void
    {
        [$worker, $db] = $this->workers()[self::OURS];
        $echo = $this->client($worker, $db)->signature('proj.echo', [Value::bytes("\xff\x00"), Value::bytes('abc')]);
        $msgpack = $this->value($echo->applyAsync(serializer: 'msgpack'), $db)->args;
        $this->assertEquals([(object) ['__type__' => 'base64', '__value__' => '/wA='], (object) ['__type__' => 'bytes', '__value__' => 'abc']], $msgpack);
        $this->assertSame(['/wA=', 'YWJj'], $this->value($echo->applyAsync(serializer: 'yaml'), $db)->args);
        foreach (['msgpack', 'yaml'] as $serializer) {
            try {
                $echo->s(Value::decimal('1.10'))->applyAsync(serializer: $serializer);
                $this->fail("$serializer: it was sent");
            } catch (\CeleryException $e) {
                $this->assertStringContainsString('has no form for a decimal', $e->getMessage());
            }
        }
    }

    /** @dataProvider workers */
    public function test_options_of_time_and_place(string $worker, int $db): void
    {
        $add = $this->client($worker, $db)->signature('proj.add', [20, 1]);
        foreach ([
            $add->applyAsync(countdown: 0.5),
            $add->applyAsync(eta: new \DateTimeImmutable('+1 second', new \DateTimeZone('Asia/Tokyo')), expires: new \DateInterval('PT1M')),
            $add->applyAsync(priority: 9, timeLimit: 30, softTimeLimit: new \DateInterval('PT20S')),
            $add->applyAsync(headers: ['x-tenant' => 'acme'], stamps: ['tenant' => 'acme'], shadow: 'sum', replyTo: 'nowhere'),
            $add->applyAsync(taskId: 'order:' . bin2hex(random_bytes(4)), rootId: 'root-1', parentId: 'parent-1', retries: 1),
            $add->applyAsync(persistent: false, publish: 'once', argsrepr: '(***)', kwargsrepr: '{}'),
        ] as $result) {
            $this->assertSame(21, $this->value($result, $db));
        }
    }

    /** @dataProvider workers */
    public function test_types_that_json_lacks_come_back_as_they_went(string $worker, int $db): void
    {
        $client = $this->client($worker, $db);
        $values = [
            Value::decimal('1.10'), Value::uuid('12345678-1234-5678-1234-567812345678'), Value::bytes("\xff\x00abc"), Value::bytes('abc'),
            Value::date(new \DateTime('2026-01-02')), Value::time(new \DateTime('03:04:05')), new \DateTimeImmutable('2026-01-02T03:04:05.678901+02:00'),
        ];
        $value = $this->value($client->sendTask('proj.echo', $values), $db);
        foreach ($values as $index => $sent) {
            $expected = $sent instanceof Value ? $sent->jsonSerialize() : ['__type__' => 'datetime', '__value__' => '2026-01-02T03:04:05.678901+02:00'];
            $this->assertEquals($expected, json_decode(json_encode($value->args[$index]), true));
        }
    }

    /** @dataProvider workers */
    public function test_callbacks_and_maps(string $worker, int $db): void
    {
        $client = $this->client($worker, $db);
        [$id, $other] = [bin2hex(random_bytes(8)), bin2hex(random_bytes(8))];
        $mul = $client->signature('proj.mul');
        $client->signature('proj.add', [2, 3])->link($mul->s(10)->set(taskId: $id), $client->signature('proj.echo')->si('done')->set(taskId: $other))->delay();
        $this->assertSame(50, $this->value($client->result($id), $db));
        $this->assertSame(['done'], $this->value($client->result($other), $db)->args);
        $this->assertSame([3, 7], $this->value($client->signature('proj.xsum')->map([[1, 2], [3, 4]])->delay(), $db));
        $this->assertSame([3, 7], $this->value($client->signature('proj.add')->starmap([[1, 2], [3, 4]])->delay(), $db));
    }
}
