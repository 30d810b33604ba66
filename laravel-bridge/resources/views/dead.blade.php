@extends('celery::layout')
@section('title', 'Dead letters')
@section('live')
    @include('celery::live.dead')
@endsection
