// Installs a browser for the tests if there is none. Run with tsx before all tests.
import { installChromium } from '../test/support/chromium-binary.ts'

installChromium()
