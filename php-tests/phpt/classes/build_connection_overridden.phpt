--TEST--
Constructors build their connections through an overridden BuildConnection(), as celery-php's do
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
trait Builds
{
    public $seen = [];

    public function BuildConnection($connection_details, $is_backend = false)
    {
        $this->seen[] = [$connection_details['vhost'], $is_backend];
        parent::BuildConnection(['exchange' => $GLOBALS['queue']] + $connection_details, $is_backend);
    }
}
class One extends Celery
{
    use Builds;
}
class Two extends CeleryAdvanced
{
    use Builds;
}
$queue = fresh('queue');
$client = new One(...arguments());
$client->PostTask('proj.echo', [], false);
echo json_encode($client->seen), ' ', redis()->lLen($queue), "\n";
$client = new Two(arguments());
echo json_encode($client->seen), "\n";
$client = new Two(arguments(), arguments(['vhost' => 2]));
$result = $client->PostTask('proj.echo', []);
store($result->getId(), 'SUCCESS', 5, database: 2);
echo json_encode($client->seen), ' ', redis()->lLen($queue), ' ', $result->get(5), "\n";
?>
--EXPECT--
[[0,false],[0,true]] 1
[[0,false],[0,true]]
[[0,false],[2,true]] 2 5
