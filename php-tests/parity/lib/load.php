<?php

/** Loads this suite's own classes. The extension or record.php provides the library under test. */

declare(strict_types=1);

require_once __DIR__ . '/PrivateRedis.php';
require_once __DIR__ . '/Observation.php';
require_once __DIR__ . '/Message.php';
require_once __DIR__ . '/Tools.php';
require_once __DIR__ . '/Lab.php';
require_once __DIR__ . '/PrivateRabbitMq.php';
require_once __DIR__ . '/RabbitMqLab.php';
require_once __DIR__ . '/Shape.php';
require_once __DIR__ . '/Transcript.php';
require_once __DIR__ . '/../fixtures/values.php';
