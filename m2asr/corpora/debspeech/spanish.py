"""Restores Spanish accents that follow from the word alone."""

from __future__ import annotations

import re

# words that without their accent do not exist, or do not occur in these texts; esta, solo, que, si and the like stay as they are
WORDS = """
ademas=además adios=adiós ahi=ahí alegria=alegría algun=algún alla=allá alli=allí aqui=aquí asi=así atmosfera=atmósfera atras=atrás
atravez=a través brujeria=brujería busqueda=búsqueda buzon=buzón cadaver=cadáver cajon=cajón callate=cállate camara=cámara
cientifico=científico clasica=clásica codigo=código comprendi=comprendí confiteria=confitería creia=creía daria=daría debia=debía
decias=decías decimo=décimo dejalo=déjalo dejame=déjame despues=después detras=detrás dia=día dias=días dieciseis=dieciséis
digitos=dígitos dolar=dólar dolares=dólares dolia=dolía duodecimo=duodécimo electrica=eléctrica espantapajaros=espantapájaros estan=están
estandar=estándar estanteria=estantería estara=estará estaria=estaría estarias=estarías facil=fácil fisico=físico frio=frío futbol=fútbol
guiare=guiaré gustaria=gustaría habia=había habias=habías habra=habrá habran=habrán haria=haría increible=increíble intentare=intentaré
invalida=inválida invalido=inválido japon=japón lampara=lámpara lider=líder limon=limón linea=línea magnifica=magnífica maquina=máquina
mas=más menu=menú mia=mía miercoles=miércoles millon=millón minimos=mínimos monton=montón musica=música ningun=ningún numerico=numérico
numero=número numeros=números oidos=oídos organos=órganos orgia=orgía osadia=osadía parecia=parecía pasaria=pasaría pensaria=pensaría
perdon=perdón podia=podía podra=podrá podre=podré podria=podría podrias=podrías pondria=pondría proposito=propósito proxima=próxima
proximo=próximo queria=quería querias=querías rapidamente=rápidamente razon=razón sabado=sábado salon=salón satelite=satélite
septimo=séptimo sera=será seran=serán sere=seré tambien=también tecnica=técnica tecnicas=técnicas telefonico=telefónico telefono=teléfono
tendra=tendrá tendras=tendrás tendre=tendré tendrias=tendrías tenia=tenía tia=tía tio=tío tipico=típico todavia=todavía
tonterias=tonterías trigesimo=trigésimo ultima=última ultimo=último undecimo=undécimo unica=única unico=único uniran=unirán util=útil
vacias=vacías vamonos=vámonos veintidos=veintidós veintiseis=veintiséis veintitres=veintitrés vendrias=vendrías vigesimo=vigésimo
"""
ACCENTED = dict(pair.split("=") for pair in re.findall(r"\w+=\w+(?: través)?", WORDS))
ENDING = re.compile(r"(?<=[cgsx])ion\b", re.IGNORECASE)  # extension, conexion; the plural has no accent


def accented(text: str) -> str:
    """Add the accents that the words of a text must have."""
    return ENDING.sub(lambda end: "IÓN" if end[0].isupper() else "ión", re.sub(r"\w+", _word, text))


def _word(match: re.Match[str]) -> str:
    word = match[0]
    accented_word = ACCENTED.get(word.lower(), word)
    if word.isupper() and len(word) > 1:
        return accented_word.upper()
    return accented_word[0].upper() + accented_word[1:] if word[0].isupper() else accented_word
