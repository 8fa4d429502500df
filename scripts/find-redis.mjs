// Installs Redis for the tests if there is none. Run with tsx before all tests.
import { installRedis } from '../test/support/redis-binary.ts'

installRedis()
