using System.Numerics;
using Npgsql;
using SafePool.Driver.Poolers;

namespace SafePool.Driver;

/// <summary>Which of the pool's own questions end the session that asks them, as a firewall between the pool and its server may have it. They are left out then, until the next generation of connections.</summary>
/// <remarks>
/// <para>
/// A question is to blame when it has ended two sessions in succession that had answered everything before it, and the next session answers. When that one answers nothing, or nobody is let in,
/// it was an outage after all, and all is forgotten. The open in which a session ends connects again at once (<see cref="PhysicalOpening"/>), so a firewall costs one open a few connects, and fails none.
/// </para>
/// <para>
/// Thread-safety: every member may be called from any thread; what it knows changes under one lock, and nothing is called within it. Opens at the same time may count each other's ends: the worst that comes of it
/// is a question that is left out for a generation. Questions are bits; none is the one that nobody refuses to answer.
/// </para>
/// </remarks>
internal sealed class FatalQuestions
{
    /// <summary><c>pg_settings</c>: which timeouts a reset restores.</summary>
    public const int Settings = 1 << 30;

    /// <summary><c>current_setting</c>: which timeouts are in force.</summary>
    public const int CurrentSetting = 1 << 29;

    private readonly Lock _gate = new();
    private int _generation;
    private int _leftOut;
    private int _blamed;
    private int _suspected;
    private string? _words;

    /// <summary>What is not to be asked.</summary>
    public int NotAsked(int generation)
    {
        lock (_gate)
        {
            return IsOf(generation) ? _leftOut | _blamed : 0;
        }
    }

    /// <summary>Whether one of these is to be found out, so that they are asked one by one.</summary>
    public bool IsSuspected(int generation, int questions)
    {
        lock (_gate)
        {
            return IsOf(generation) && (_suspected & ~(_leftOut | _blamed) & questions) != 0;
        }
    }

    /// <summary>A new session has answered something: so it was no outage that ended the ones before.</summary>
    /// <returns>What is left out for good, and the words with which the last one ended; null when nothing is.</returns>
    public (int LeftOut, string Words)? NoteAnswer(int generation)
    {
        lock (_gate)
        {
            if (!IsOf(generation))
            {
                return null;
            }

            _leftOut |= _blamed;
            _blamed = 0;
            return _leftOut == 0 ? null : (_leftOut, _words ?? "");
        }
    }

    /// <summary>These were answered, or refused without an end.</summary>
    public void Acquit(int generation, int questions)
    {
        lock (_gate)
        {
            _suspected &= IsOf(generation) ? ~questions : -1;
        }
    }

    /// <summary>A session that had been let in has ended while it was asked these, all at once. True when another connection may tell more.</summary>
    public bool NoteEnd(int generation, int questions, Exception end)
    {
        if (!IsEnd(end))
        {
            return false;
        }

        lock (_gate)
        {
            if (generation < _generation)
            {
                return false;
            }

            if (!IsOf(generation))
            {
                (_generation, _leftOut, _blamed, _suspected) = (generation, 0, 0, 0);
            }

            if (questions == 0)
            {
                _blamed = _suspected = 0;
                return false;
            }

            _words = end.Message;
            if ((questions & (_leftOut | _blamed)) != 0)
            {
                // Found out meanwhile.
                return true;
            }

            var isToBlame = BitOperations.IsPow2(questions) && (_suspected & questions) != 0;
            _blamed |= isToBlame ? questions : 0;
            _suspected |= questions;
            return true;
        }
    }

    /// <summary>Nobody is let in, or there is no time left to find out.</summary>
    public void NoteOutage()
    {
        lock (_gate)
        {
            _blamed = _suspected = 0;
        }
    }

    /// <summary>An answer or an end, and not a pooler's word for its server's trouble: silence proves nothing.</summary>
    private static bool IsEnd(Exception end)
        => end is NpgsqlException { InnerException: not (TimeoutException or OperationCanceledException) } && PoolerErrors.KindOf(end) is null;

    private bool IsOf(int generation) => _generation == generation;
}
