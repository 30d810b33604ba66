@extends('celery::layout')
@section('title', 'Dead letter')
@section('live')
    @include('celery::live.letter')
@endsection
