/* A library whose thread-locals have first values. `-DROOM=n`: with so many more bytes of them. `-DALIGN=n`: aligned so. */

/* That others may see: each is looked for by itself. */
__thread int seen = 5;
__thread char aligned[] __attribute__((aligned(ALIGN))) = "at first";
/* And others, of which the linker knows where each is. */
static __thread int hidden = 7, zero;
static __thread char room[ROOM] = {1, [ROOM - 1] = 2};

static int all_are(int number, int began, int ended, char first) {
    return seen == number + 5 && hidden == number + 7 && zero == number && room[0] == began && room[ROOM - 1] == ended &&
           aligned[0] == first && aligned[1] == 't' && (unsigned long) aligned % ALIGN == 0;
}

int are_as_at_first(void) { return all_are(0, 1, 2, 'a'); }

void set(int number) {
    seen = number + 5;
    hidden = number + 7;
    zero = number;
    room[0] = room[ROOM - 1] = 3;
    aligned[0] = 'A';
}

int are_as_set(int number) { return all_are(number, 3, 3, 'A'); }
