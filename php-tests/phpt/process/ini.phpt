--TEST--
The directives, their defaults and who may change them
--EXTENSIONS--
celery
--FILE--
<?php
foreach (ini_get_all('celery') as $name => $entry) {
    printf("%s = %s, %s\n", $name, var_export($entry['global_value'], true), $entry['access'] === INI_ALL ? 'all' : 'administrator');
}
foreach (['publish' => 'Confirmed', 'task_protocol' => '3'] as $name => $value) {
    ini_set("celery.$name", $value);
    try {
        (new Celery('localhost', '', '', 0, 'celery', 'celery', 1, 'redis'))->PostTask('proj.add', []);
    } catch (CeleryException $e) {
        echo $e->getMessage(), "\n";
    }
    ini_restore("celery.$name");
    echo ini_get("celery.$name"), "\n";
}
?>
--EXPECT--
celery.breaker_cooldown = '5.0', all
celery.breaker_failures = '', all
celery.broker_url = '', administrator
celery.ca_file = '', all
celery.command_timeout = '5.0', all
celery.connect_timeout = '2.0', all
celery.control_timeout = '1.0', all
celery.create_missing_queues = '1', all
celery.default_queue = 'celery', all
celery.idle_check = '30', all
celery.keep_results = '0', all
celery.key_prefix = '', administrator
celery.master_name = '', administrator
celery.max_connections = '8', all
celery.post_timeout = '5.0', all
celery.priority_sep = '', administrator
celery.priority_steps = '0,3,6,9', administrator
celery.publish = 'confirmed', all
celery.queue_type = 'classic', all
celery.replicas = '0', all
celery.reply_expires = '3600', all
celery.reply_queue = 'process', all
celery.result_backend = '', administrator
celery.result_timeout = '60', all
celery.send_sent_event = '0', all
celery.spin = '1', all
celery.task_protocol = '2', all
celery.publish is "Confirmed"; it must be "confirmed", "once" or "pipelined".
confirmed
celery.task_protocol is "3"; it must be 2 or 1.
2
