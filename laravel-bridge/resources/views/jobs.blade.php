@extends('celery::layout')
@section('title', 'Jobs')
@section('live')
    @include('celery::live.jobs')
@endsection
