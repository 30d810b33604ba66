@extends('celery::layout')
@section('title', "Queue {$queue}")
@section('live')
    @include('celery::live.queue')
@endsection
