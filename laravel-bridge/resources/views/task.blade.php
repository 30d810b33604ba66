@extends('celery::layout')
@section('title', 'Task')
@section('live')
    @include('celery::live.task')
@endsection
