@extends('celery::layout')
@section('title', 'History')
@section('live')
    @include('celery::live.history')
@endsection
