# What differs in staging: small, and without Temporal. Here it is tried behind a NAT gateway, too.

mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_resource "aws_acm_certificate" {
    defaults = {
      arn = "arn:aws:acm:us-east-1:111122223333:certificate/1"
      domain_validation_options = [{
        domain_name           = "voice-staging.example.com"
        resource_record_name  = "_1.voice-staging.example.com"
        resource_record_type  = "CNAME"
        resource_record_value = "_2.acm-validations.aws"
      }]
    }
  }
  mock_resource "aws_acm_certificate_validation" {
    defaults = { certificate_arn = "arn:aws:acm:us-east-1:111122223333:certificate/1" }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/app/voice/1", arn_suffix = "app/voice/1" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/voice/1", arn_suffix = "targetgroup/voice/1" }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:111122223333:listener/app/voice/1/2" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/voice" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-east-1:111122223333:alarms" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:us-east-1:111122223333:cluster/voice-ai-staging" }
  }
  mock_resource "aws_ecr_repository" {
    defaults = { arn = "arn:aws:ecr:us-east-1:111122223333:repository/voice-ai-staging" }
  }
  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:voice-ai-staging-AbCdEf" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:111122223333:log-group:voice" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:us-east-1:111122223333:task-definition/voice:1" }
  }
  mock_resource "aws_service_discovery_service" {
    defaults = { arn = "arn:aws:servicediscovery:us-east-1:111122223333:service/srv-1" }
  }
}

variables {
  host_name         = "voice-staging.example.com"
  zone_id           = "Z1"
  image             = "111122223333.dkr.ecr.us-east-1.amazonaws.com/voice-ai-staging@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  database_password = "mocked-password-of-the-test"
  github_repository = "example/voice-ai"
  nat_gateway       = true
  settings = {
    TWILIO_ACCOUNT_SID   = "AC00000000000000000000000000000000"
    TWILIO_PHONE_NUMBER  = "+15550100999"
    ALLOWED_DESTINATIONS = "+1"
  }
}

run "staging" {
  assert {
    condition     = module.region.facts.services.app.tasks == 1 && module.region.facts.services.worker.tasks == 0
    error_message = "One task, and no worker."
  }
  assert {
    condition     = length([for it in module.region.facts.containers.app.environment : it if startswith(it.name, "TEMPORAL_")]) == 0
    error_message = "Without Temporal, the app keeps the life of its calls itself."
  }
  assert {
    condition     = alltrue([for name, service in module.region.facts.services : !service.public_ip])
    error_message = "Behind a NAT gateway, tasks have no public address."
  }
  assert {
    condition     = module.region.facts.database.deletable && module.region.facts.database.encrypted && !module.region.facts.database.public
    error_message = "The database can be deleted, and is private and encrypted as in production."
  }
  assert {
    condition     = [for rule in module.region.facts.ingress : rule.port if can(cidrhost(rule.from, 0))] == [443]
    error_message = "Nothing is open but 443."
  }
  assert {
    condition     = module.region.facts.deploy.trust.Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] == "repo:example/voice-ai:environment:staging"
    error_message = "Staging's role is not production's."
  }
  assert {
    condition     = toset([for it in module.region.facts.containers.app.secrets : it.name]) == toset(["API_KEYS", "GEMINI_API_KEY", "PGPASSWORD", "STREAM_TOKEN_SECRET", "TWILIO_AUTH_TOKEN"])
    error_message = "Secrets come from Secrets Manager, without Temporal's."
  }
}
