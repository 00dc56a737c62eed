/**
 * Opens the live view's socket while the rest of the page is still on its way, so that the first picture comes beside it
 * and not after it. The build writes this file, with what it imports, into `index.html` itself.
 */

import { EarlySocket } from '../view/early.ts'
import { openSocket } from './endpoint.ts'

window.earlySocket = new EarlySocket(openSocket(window.location.href))
