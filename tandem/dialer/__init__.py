"""Campaigns that run: who is dialled next, and what becomes of those who answer. Nobody imports it but the composition root."""
