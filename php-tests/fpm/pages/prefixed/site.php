<?php

/** Runs the page ?page on a site with its own `celery.key_prefix`. */

require __DIR__ . "/../$_GET[page].php";
