variable "name" {
  description = "Prefix of every resource's name, such as voice-ai-production: at most 24 characters."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "The name is 3 to 24 small letters, digits and hyphens: load balancers take no more."
  }
}

variable "mode" {
  description = "active: this region takes calls. pilot_light: network, load balancer and a copy of the database wait, and no task runs."
  type        = string

  validation {
    condition     = contains(["active", "pilot_light"], var.mode)
    error_message = "The mode is active or pilot_light."
  }
}

variable "host_name" {
  description = "Host name that Twilio and API clients reach this region by."
  type        = string
}

variable "zone_id" {
  description = "Route 53 zone of the host name."
  type        = string
}

variable "image" {
  description = "Image of the tasks by digest, as the first `docker push` told it. Later ones are set by scripts/deploy.sh."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "The image is named by digest: …/voice-ai@sha256:… and 64 hexadecimal digits."
  }
}

variable "settings" {
  description = "Further environment variables of the tasks (docs/settings.md), nothing secret: TWILIO_ACCOUNT_SID, TWILIO_PHONE_NUMBER and ALLOWED_DESTINATIONS are needed."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["TWILIO_ACCOUNT_SID", "TWILIO_PHONE_NUMBER", "ALLOWED_DESTINATIONS"], keys(var.settings))) == 0
    error_message = "The settings need TWILIO_ACCOUNT_SID, TWILIO_PHONE_NUMBER and ALLOWED_DESTINATIONS."
  }

  validation {
    condition     = length(setintersection(["TWILIO_AUTH_TOKEN", "GEMINI_API_KEY", "API_KEYS", "STREAM_TOKEN_SECRET", "TEMPORAL_API_KEY", "TEMPORAL_CODEC_KEY", "PGPASSWORD", "DATABASE_URL"], keys(var.settings))) == 0
    error_message = "Secrets are set by scripts/set_secrets.sh, never in the environment of a task definition."
  }
}

variable "cidr" {
  description = "Address range of the VPC, a /16."
  type        = string
  default     = "10.20.0.0/16"
}

variable "availability_zones" {
  description = "Zones to spread over, at least two."
  type        = list(string)
}

variable "nat_gateway" {
  description = "Whether tasks run in private subnets behind a NAT gateway ($33 a month and $0.045 a GB more)."
  type        = bool
  default     = false
}

variable "app" {
  description = "Tasks that carry calls: CPU units, MB of memory, fewest, most, and calls of each at once (MAX_CONCURRENT_CALLS)."
  type        = object({ cpu = number, memory = number, min = number, max = number, calls = number })
  default     = { cpu = 512, memory = 1024, min = 2, max = 6, calls = 25 }

  # A deploy has twice as many tasks for a while.
  validation {
    condition     = var.database.class != "db.t4g.micro" || 2 * (var.app.max + var.worker.tasks) * var.database_pool <= 80
    error_message = "db.t4g.micro has some 80 connections, and twice all tasks (app.max and worker.tasks) with database_pool each need more: raise database.class."
  }
}

variable "database_pool" {
  description = "Connections of each task to PostgreSQL at most: DB_POOL_SIZE."
  type        = number
  default     = 5
}

variable "occupied_percent" {
  description = "Share of places that autoscaling aims at. The rest has to last until a new task is there, some five minutes."
  type        = number
  default     = 60
}

variable "worker" {
  description = "Tasks that run workflows: CPU units, MB of memory, how many, and whether on Fargate Spot."
  type        = object({ cpu = number, memory = number, tasks = number, spot = bool })
  default     = { cpu = 256, memory = 512, tasks = 2, spot = true }
}

variable "longest_call_seconds" {
  description = "How long a task that a deploy or scale-in takes out goes on with its calls, at most 3600. A call that lasts longer moves to another task."
  type        = number
  default     = 3600
}

variable "temporal" {
  description = "cloud: Temporal Cloud. self_hosted: a server on Fargate. none: each app task keeps the life of its calls itself."
  type        = string
  default     = "cloud"
}

variable "temporal_cloud" {
  description = "Temporal Cloud: address (host:7233) and namespace; needed when temporal is cloud."
  type        = object({ address = string, namespace = string })
  default     = null

  validation {
    condition     = var.temporal != "cloud" || var.temporal_cloud != null
    error_message = "temporal_cloud is needed: address and namespace of Temporal Cloud."
  }
}

variable "temporal_images" {
  description = "Images of a self-hosted Temporal: server and admin tools, of one version."
  type        = object({ server = string, admin = string })
  default     = { server = "temporalio/server:1.29.1", admin = "temporalio/admin-tools:1.29.1" }
}

variable "database" {
  description = "PostgreSQL: instance class, GB of storage, a standby in a second zone or not, days of backups."
  type        = object({ class = string, storage_gb = number, multi_az = bool, backup_days = number })
  default     = { class = "db.t4g.micro", storage_gb = 20, multi_az = false, backup_days = 7 }
}

variable "database_replica_of" {
  description = "ARN of the database in the other region that this one follows while the mode is pilot_light."
  type        = string
  default     = null

  validation {
    condition     = var.mode == "active" || var.database_replica_of != null
    error_message = "A pilot light needs database_replica_of: the ARN of the active region's database."
  }
}

variable "database_password" {
  description = "PostgreSQL's password; scripts/apply.sh reads it from the secret. Ephemeral: neither in the state nor in a plan."
  type        = string
  ephemeral   = true
  sensitive   = true
  default     = null
}

variable "database_password_version" {
  description = "Raised by one to give PostgreSQL the password that the secret has now."
  type        = number
  default     = 1
}

variable "cache_class" {
  description = "Node type of Valkey."
  type        = string
  default     = "cache.t4g.micro"
}

variable "secret_replicas" {
  description = "Regions that get a copy of the secret and of every image, for a pilot light."
  type        = list(string)
  default     = []
}

variable "secret_is_copy" {
  description = "Whether secret and images are copies that the other region makes here."
  type        = bool
  default     = false
}

variable "github" {
  description = "Who may deploy: a GitHub repository (owner/name) and one of its environments; null: nobody from GitHub."
  type        = object({ repository = string, environment = string })
  default     = null
}

variable "github_provider_exists" {
  description = "Whether this AWS account trusts GitHub's tokens already."
  type        = bool
  default     = false
}

variable "alarm_emails" {
  description = "Addresses that alarms are sent to."
  type        = set(string)
  default     = []
}

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 30
}

variable "access_logs_bucket" {
  description = "S3 bucket for the load balancer's access logs; null: none."
  type        = string
  default     = null
}

variable "protect_data" {
  description = "Whether database and load balancer cannot be deleted, and the secret can be restored for 30 days."
  type        = bool
  default     = true
}
