@extends('celery::layout')
@section('title', 'Overview')
@section('live')
    @include('celery::live.overview')
@endsection
