@extends('celery::layout')
@section('title', 'Job')
@section('live')
    @include('celery::live.job')
@endsection
