// SPDX-License-Identifier: Apache-2.0
/*
 * `top` on a terminal, by curses. What is drawn has been cleaned, and is ASCII by the time it gets
 * here: what is not is shown as '?', since the terminal's encoding is not ours to know.
 */
#include <curses.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "top.h"

static SCREEN *screen;

bool bn_screen_open(void)
{
	const char *term = getenv("TERM");

	if (!term || !*term || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return false;
	setlocale(LC_CTYPE, "");
	screen = newterm(term, stdout, stdin);
	if (!screen)
		return false;
	set_term(screen);
	cbreak();
	noecho();
	nodelay(stdscr, TRUE);
	keypad(stdscr, TRUE);
	set_escdelay(25);
	curs_set(0);
	return true;
}

void bn_screen_close(void)
{
	if (!screen)
		return;
	curs_set(1);
	endwin();
	delscreen(screen);
	screen = NULL;
}

enum bn_top_key bn_screen_key(void)
{
	switch (getch()) {
	case ERR:
		return BN_KEY_NONE;
	case 'q':
	case 'Q':
		return BN_KEY_QUIT;
	case '\t':
		return BN_KEY_VIEW;
	case 't':
	case '1':
		return BN_KEY_TALKERS;
	case 's':
	case '2':
		return BN_KEY_SERVICES;
	case 'd':
	case '3':
		return BN_KEY_DROPS;
	case '<':
	case KEY_LEFT:
		return BN_KEY_LEFT;
	case '>':
	case KEY_RIGHT:
		return BN_KEY_RIGHT;
	case 'r':
		return BN_KEY_TURN;
	case ' ':
	case 'p':
		return BN_KEY_PAUSE;
	case '+':
		return BN_KEY_SLOWER;
	case '-':
		return BN_KEY_FASTER;
	case 'k':
	case KEY_UP:
		return BN_KEY_UP;
	case 'j':
	case KEY_DOWN:
		return BN_KEY_DOWN;
	case 'h':
	case '?':
		return BN_KEY_HELP;
	default: /* KEY_RESIZE among them */
		return BN_KEY_OTHER;
	}
}

static void draw_text(int y, const char *text)
{
	if (y < 0 || y >= LINES)
		return;
	move(y, 0);
	for (int x = 0; *text && x < COLS; text++) {
		if (((unsigned char)*text & 0xc0) == 0x80)
			continue;
		/* the last place of the last line would scroll */
		if (y == LINES - 1 && x == COLS - 1)
			break;
		addch((unsigned char)*text < 0x80 ? (chtype)(unsigned char)*text : '?');
		x++;
	}
}

#define TABLE_AT 2

struct drawing {
	size_t first;
};

static void draw_line(void *user, size_t n, const char *text)
{
	const struct drawing *d = user;

	if (n == 0)
		attron(A_REVERSE);
	if (n == 0 || n > d->first)
		draw_text(TABLE_AT + (int)(n ? n - d->first : 0), text);
	if (n == 0)
		attroff(A_REVERSE);
}

static void draw_help(void)
{
	static const char *const lines[] = {
		"t s d or Tab   talkers, services, drops",
		"< > or arrows  sort by the column beside",
		"r              turn the order round",
		"space          pause",
		"+ -            read less or more often",
		"j k or arrows  down, up",
		"q              quit",
		"",
		"OUT is what the flow's opener sends, IN what comes back.",
	};

	for (int i = 0; i < (int)(sizeof(lines) / sizeof(lines[0])); i++)
		draw_text(TABLE_AT + i, lines[i]);
}

void bn_screen_draw(const struct bn_screen *s, const struct bn_top_row *const *rows, size_t n)
{
	const size_t room = LINES > TABLE_AT + 1 ? (size_t)(LINES - TABLE_AT - 1) : 0;
	struct bn_top_style style = s->style;
	struct drawing d = {.first = s->first};

	style.width = COLS > 0 ? (size_t)COLS : 1;
	style.most = s->first + room;
	style.headers = true;
	erase();
	attron(A_BOLD);
	draw_text(0, s->title);
	attroff(A_BOLD);
	draw_text(1, s->note);
	if (s->help)
		draw_help();
	else if (LINES > TABLE_AT)
		bn_top_table(rows, n, &style, draw_line, &d);
	refresh();
}
