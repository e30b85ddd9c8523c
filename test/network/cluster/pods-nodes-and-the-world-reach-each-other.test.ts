import { leakCheck } from '../../support/leak-check.ts';
import { coreList } from './core-list.ts';

leakCheck();

coreList({ mode: 'tunnel', nodes: 3 });
