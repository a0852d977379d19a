"""The tables as Django declares them. Its settings must be configured before the import."""

# mypy: disable-error-code="import-untyped,misc"
from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now


class Content(models.Model):
    id = models.CharField(max_length=255, primary_key=True)
    title = models.CharField(max_length=500)
    description = models.TextField(null=True)
    text_content = models.TextField()
    audio_url = models.CharField(max_length=1000)
    audio_format = models.CharField(max_length=10, null=True)
    audio_bitrate = models.IntegerField(null=True)
    audio_size = models.BigIntegerField(null=True)
    format = models.CharField(max_length=50)
    genre = models.CharField(max_length=100, null=True)
    sub_genre = models.CharField(max_length=100, null=True)
    topic = models.CharField(max_length=200, null=True)
    template_id = models.CharField(max_length=255)
    template_version = models.CharField(max_length=50, null=True)
    difficulty = models.CharField(max_length=50)
    difficulty_score = models.DecimalField(max_digits=3, decimal_places=2, null=True)
    estimated_comprehension_level = models.CharField(max_length=50, null=True)
    duration = models.IntegerField()
    word_count = models.IntegerField(null=True)
    model_parameters = models.JSONField()
    generated_at = models.DateTimeField()
    generated_by = models.CharField(max_length=255, null=True)
    session_id = models.CharField(max_length=255)
    episode_number = models.IntegerField(null=True)
    series_id = models.CharField(max_length=255, null=True)
    continuity_context = models.TextField(null=True)
    related_content_ids = ArrayField(models.TextField(), null=True)
    language = models.CharField(max_length=10, null=True)
    locale = models.CharField(max_length=10, null=True)
    quality_score = models.DecimalField(max_digits=3, decimal_places=2, null=True)
    engagement_metrics = models.JSONField(null=True)
    metadata = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        app_label = "benchmarks"
        managed = False
        db_table = "content"


class Event(models.Model):
    id = models.CharField(max_length=255, primary_key=True)
    content_id = models.CharField(max_length=255)
    event_type = models.CharField(max_length=50)
    timestamp = models.DateTimeField()
    playback_position = models.DecimalField(max_digits=10, decimal_places=2)
    playback_position_percent = models.DecimalField(max_digits=5, decimal_places=2, null=True)
    duration = models.DecimalField(max_digits=10, decimal_places=2, null=True)
    session_id = models.CharField(max_length=255)
    content_characteristics = models.JSONField()
    device_info = models.JSONField(null=True)
    network_type = models.CharField(max_length=50, null=True)
    context = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        app_label = "benchmarks"
        managed = False
        db_table = "behavioral_events"


class State(models.Model):
    session_id = models.CharField(max_length=255, primary_key=True)
    preference_weights = models.JSONField()
    comprehension_level = models.DecimalField(max_digits=3, decimal_places=2)
    content_type_preferences = models.JSONField()
    difficulty_adjustment = models.DecimalField(max_digits=5, decimal_places=2)
    last_updated = models.DateTimeField()
    data_points = models.IntegerField()
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        app_label = "benchmarks"
        managed = False
        db_table = "learner_model_state"


class Like(models.Model):
    pk = models.CompositePrimaryKey("content_id", "session_id")
    content_id = models.CharField(max_length=255)
    session_id = models.CharField(max_length=255)
    liked = models.BooleanField()
    liked_at = models.DateTimeField(null=True)
    unliked_at = models.DateTimeField(null=True)
    reaction_type = models.CharField(max_length=50, null=True)
    content_characteristics = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        app_label = "benchmarks"
        managed = False
        db_table = "like_engagement"
