@extends('celery::layout')
@section('title', 'Tasks')
@section('live')
    @include('celery::live.tasks')
@endsection
