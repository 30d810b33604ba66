<?php

/** The page ?page on a site with a `celery.key_prefix` of its own. */

require __DIR__ . "/../$_GET[page].php";
