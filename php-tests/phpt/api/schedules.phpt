--TEST--
Celery\Schedules: entries are added, changed, listed and removed; what a worker cannot use is refused by name
--EXTENSIONS--
celery
redis
--FILE--
<?php
require __DIR__ . '/../support.inc';
use Celery\{Client, Crontab, Interval, Missed, Value};

$prefix = fresh('schedules') . ':';
$client = new Client(redis_url(), keyPrefix: $prefix);
$schedules = $client->schedules();
$keys = fn (string $name) => $prefix . $name;

$task = $client->signature('proj.report', [7, Value::decimal('1.50')], ['to' => 'a@b.c'])->set(queue: 'mails', priority: 3, expires: 60);
$added = $schedules->add('report', new Crontab(minute: 0, hour: '4', dayOfWeek: 'mon-fri'), $task, timezone: new DateTimeZone('Europe/Berlin'), missed: 'none');
echo json_encode($added), "\n";
echo redis()->hGet($keys('rs.beat'), 'report'), "\n";
var_dump(redis()->zScore($keys('rs.beat.due'), 'report'));

echo "a due time that is known stays, unless times or state change:\n";
$due = function () use ($keys) {
    $score = redis()->zScore($keys('rs.beat.due'), 'report');
    redis()->zAdd($keys('rs.beat.due'), 1764399600000.0, 'report');

    return $score === false ? 'none' : ($score == 0 ? 'anew' : 'kept');
};
$due();
$schedules->add('report', new Crontab(0, '4', dayOfWeek: 'mon-fri'), $task->s(8), new DateTimeZone('Europe/Berlin'), Missed::All);
echo 'other arguments: ', $due(), "\n";
$schedules->add('report', new Interval(30), $task);
echo 'another schedule: ', $due(), "\n";
$schedules->disable('report');
echo 'disabled: ', $due(), "\n";
$schedules->disable('report');
$schedules->enable('report', 'report');
echo 'enabled: ', $due(), "\n";
$read = $schedules->get('report');
echo $read->nextDue->format(DATE_ATOM), ' ', $read->sent, ' ', var_export($read->lastSent, true), "\n";
redis()->hSet($keys('rs.beat.runs'), 'report', '3 1764399600250');
echo $schedules->get('report')->sent, ' ', $schedules->get('report')->lastSent->format('Y-m-d H:i:s.v'), "\n";
var_dump($schedules->get('nothing'), unserialize(serialize(new Interval(1.5, true))) == new Interval(1.5, true));

echo "what other programs wrote:\n";
redis()->hSet($keys('rs.beat'), 'of the file', '{"v":1,"task":"t","schedule":"*/5 * * * *","origin":"file"}');
redis()->hSet($keys('rs.beat'), 'later', '{"v":2}');
echo implode(', ', array_keys($schedules->list())), "\n";
print_r($schedules->unreadable());
$file = $schedules->get('of the file');
var_dump($file->fromFile, $file->schedule->minute, $file->timezone, $file->missed);
show(fn () => $schedules->add('of the file', new Interval(5), $task));
show(fn () => $schedules->remove('of the file'));
$schedules->disable('of the file');
var_dump($schedules->get('of the file')->enabled);
show(fn () => $schedules->get('later'));
show(fn () => $schedules->enable('later'));
show(fn () => $schedules->enable('nothing'));
var_dump($schedules->remove('later'), $schedules->remove('later'), $schedules->remove('report'));
var_dump(redis()->zScore($keys('rs.beat.due'), 'report'), redis()->hLen($keys('rs.beat.runs')));

echo "refused:\n";
show(fn () => new Crontab(minute: 60));
show(fn () => new Crontab(hour: 'noon'));
show(fn () => new Crontab(dayOfMonth: [1, 32]));
show(fn () => new Crontab(monthOfYear: 'jan-'));
show(fn () => new Crontab(dayOfWeek: 7));
show(fn () => new Crontab(dayOfMonth: 30, monthOfYear: 'feb'));
show(fn () => new Crontab(minute: ['1']));
show(fn () => Crontab::fromString('* * *'));
show(fn () => new Interval(0));
show(fn () => new Interval(INF));
show(fn () => $schedules->add('', new Interval(1), $task));
show(fn () => $schedules->add("a\nb", new Interval(1), $task));
show(fn () => $schedules->add('a', new Interval(1), $task->set(expires: new DateTimeImmutable('2030-01-01'))));
show(fn () => $schedules->add('a', new Interval(1), $task->link($client->signature('other'))));
show(fn () => $schedules->add('a', new Interval(1), $task->set(eta: new DateTimeImmutable('2030-01-01'))));
show(fn () => $schedules->add('a', new Interval(1), $task, new DateTimeZone('CEST')));
show(fn () => $schedules->add('a', new Interval(1), $task, missed: 'twice'));
show(fn () => $schedules->add('a', new Interval(1), $client->signature('proj.add', [fopen('php://memory', 'r')])));
show(fn () => $schedules->add('a', new Interval(1), $client->signature('proj.add', [str_repeat('x', 1 << 20)])));
show(fn () => $schedules->add('a', new DateTimeImmutable(), $task));
show(fn () => $schedules->add('a', unserialize('O:14:"Celery\Crontab":1:{s:6:"minute";a:1:{i:0;s:1:"x";}}'), $task));
var_dump(redis()->hExists($keys('rs.beat'), 'a'));

echo "a line, and seconds from an interval:\n";
echo json_encode([Crontab::fromString('*/15 9-17 * * mon-fri'), new Interval(new DateInterval('PT90S'))]), "\n";

echo "the rights that the documentation names:\n";
preg_match('/`Client::schedules\(\)`\S* needs\s+`(.*?)` and\s+`(.*?)`/s', file_get_contents(__DIR__ . '/../../../docs/reference/php.md'), $found);
$user = fresh('user');
$try = function (array $rights) use ($user, $prefix): string {
    $rights = array_map(fn ($right) => str_replace('~', "~$prefix", $right), $rights);
    redis()->rawCommand('ACL', 'SETUSER', $user, 'reset', 'on', '>x', ...$rights);
    redis()->script('flush');
    $schedules = (new Client(str_replace('redis://', "redis://$user:x@", redis_url()), keyPrefix: $prefix))->schedules();
    try {
        $schedules->add('rights', new Interval(1), new Celery\Signature('t'));
        $schedules->disable('rights');
        $schedules->list();
        $schedules->remove('rights');

        return 'enough';
    } catch (CeleryException) {
        return 'not enough';
    } finally {
        redis()->hDel("{$prefix}rs.beat", 'rights');
    }
};
$rights = preg_split('/\s+/', "$found[1] $found[2]");
echo $try($rights), "\n";
foreach ($rights as $right) {
    if ($try(array_values(array_diff($rights, [$right]))) === 'enough') {
        echo "nothing needs $right\n";
    }
}
redis()->rawCommand('ACL', 'DELUSER', $user);

echo "in memory:\n";
$fake = new Celery\Testing\FakeClient();
$fake->schedules()->add('nightly', new Crontab(hour: 4), $fake->signature('proj.clean'));
echo json_encode($fake->schedules()->list()['nightly']->schedule), ' ', count($fake->sent()), "\n";
$fake->schedules()->disable('nightly');
var_dump($fake->schedules()->get('nightly')->enabled, $fake->schedules()->remove('nightly'), $fake->schedules()->list());
show(fn () => $fake->schedules()->enable('nightly'));
redis()->del(...array_map($keys, ['rs.beat', 'rs.beat.due', 'rs.beat.runs']));
?>
--EXPECT--
{"name":"report","task":"proj.report","schedule":{"minute":0,"hour":"4","day_of_month":"*","month_of_year":"*","day_of_week":"mon-fri"},"args":[7,"1.50"],"kwargs":{"to":"a@b.c"},"options":{"queue":"mails","priority":3,"expires":60},"timezone":"Europe\/Berlin","missed":"none","enabled":true,"from_file":false,"next_due":null,"sent":0,"last_sent":null}
{"v":1,"task":"proj.report","schedule":{"minute":0,"hour":"4","day_of_month":"*","month_of_year":"*","day_of_week":"mon-fri"},"timezone":"Europe/Berlin","args":[7,{"__type__":"decimal","__value__":"1.50"}],"kwargs":{"to":"a@b.c"},"options":{"queue":"mails","priority":3,"expires":60.0},"missed":"none","enabled":true}
float(0)
a due time that is known stays, unless times or state change:
other arguments: kept
another schedule: anew
disabled: none
enabled: anew
2025-11-29T07:00:00+00:00 0 NULL
3 2025-11-29 07:00:00.250
NULL
bool(true)
what other programs wrote:
of the file, report
Array
(
    [later] => its version is 2, and this program knows 1
)
bool(true)
string(3) "*/5"
string(3) "UTC"
enum(Celery\Missed::Once)
CeleryException: The entry "of the file" is from the settings file of a worker: change it there.
CeleryException: The entry "of the file" is from the settings file of a worker: change it there.
bool(false)
CeleryException: The entry "later" cannot be read: its version is 2, and this program knows 1.
CeleryException: The entry "later" cannot be read: its version is 2, and this program knows 1.
CeleryException: The entry "nothing" does not exist.
bool(true)
bool(false)
bool(true)
bool(false)
int(0)
refused:
ValueError: Celery\Crontab::__construct(): Argument #1 ($minute) cannot be used: 60 is not between 0 and 59
ValueError: Celery\Crontab::__construct(): Argument #2 ($hour) cannot be used: "noon" is not a number or a name
ValueError: Celery\Crontab::__construct(): Argument #3 ($dayOfMonth) cannot be used: 32 is not between 1 and 31
ValueError: Celery\Crontab::__construct(): Argument #4 ($monthOfYear) cannot be used: "" is not a number or a name
ValueError: Celery\Crontab::__construct(): Argument #5 ($dayOfWeek) cannot be used: 7 is not between 0 and 6
ValueError: Celery\Crontab::__construct(): Argument #3 ($dayOfMonth) cannot be used: no such day exists
ValueError: Celery\Crontab::__construct(): Argument #1 ($minute) must be an int, a string, or a list of ints
ValueError: Celery\Crontab::fromString(): Argument #1 ($crontab) cannot be used: 3 fields instead of five
ValueError: Celery\Interval::__construct(): Argument #1 ($every) cannot be used: an interval is between 0.1 s and 36525 days
ValueError: Celery\Interval::__construct(): Argument #1 ($every) cannot be used: an interval is between 0.1 s and 36525 days
ValueError: Celery\Schedules::add(): Argument #1 ($name) cannot be used: a name has 1 to 255 bytes and no control character
ValueError: Celery\Schedules::add(): Argument #1 ($name) cannot be used: a name has 1 to 255 bytes and no control character
ValueError: Celery\Schedules::add(): Argument #3 ($task) expires at a point in time; an entry needs seconds
ValueError: Celery\Schedules::add(): Argument #3 ($task) has the option link, which an entry cannot have; it can have queue, priority, expires, countdown, headers, serializer, compression, time_limit, soft_time_limit, ignore_result, shadow
ValueError: Celery\Schedules::add(): Argument #3 ($task) has the option eta, which an entry cannot have; it can have queue, priority, expires, countdown, headers, serializer, compression, time_limit, soft_time_limit, ignore_result, shadow
ValueError: Celery\Schedules::add(): Argument #4 ($timezone) must be a zone with an IANA name, such as Europe/Berlin, or an offset, such as +02:00
ValueError: Celery\Schedules::add(): Argument #5 ($missed) must be "once", "all" or "none"
Celery\Unencodable: The task was not sent: args[0] is a resource.
ValueError: Celery\Schedules::add(): Argument #3 ($task) cannot be sent at its times: it is larger than 1 MiB
TypeError: Celery\Schedules::add(): Argument #2 ($schedule) must be of type Celery\Crontab|Celery\Interval, DateTimeImmutable given
ValueError: Celery\Schedules::add(): Argument #2 ($schedule) cannot be used: minute: not an int, a string or a list
bool(false)
a line, and seconds from an interval:
[{"minute":"*\/15","hour":"9-17","day_of_month":"*","month_of_year":"*","day_of_week":"mon-fri"},{"every":90,"relative":false}]
the rights that the documentation names:
enough
in memory:
{"minute":"*","hour":4,"day_of_month":"*","month_of_year":"*","day_of_week":"*"} 0
bool(false)
bool(true)
array(0) {
}
CeleryException: The entry "nightly" does not exist.
